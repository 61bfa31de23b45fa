//! Memory of futures that come and go on a core, kept for the next ones.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// Keeps the memory of futures of one kind.
///
/// A task has room for the largest future that it ever awaits, for all of its life. What it awaits only now and then is
/// better put into a frame: then a task that is idle takes little, and nothing is allocated once there are frames enough.
pub struct Frames {
    /// That of every frame kept; the first future says it.
    layout: Cell<Option<Layout>>,
    spare: RefCell<Vec<NonNull<u8>>>,
    most: usize,
}

impl Frames {
    /// Keeps up to `most` frames that nobody uses.
    pub fn new(most: usize) -> Self {
        Self { layout: Cell::new(None), spare: RefCell::default(), most }
    }

    /// Puts the future that `make` makes into a frame, where it stays until it is dropped.
    pub fn put<F: Future>(&self, make: impl FnOnce() -> F) -> Framed<'_, F> {
        let layout = Layout::new::<F>();
        if layout.size() == 0 {
            return Framed::new(self, NonNull::dangling(), make);
        }
        let kept = if self.layout.get() == Some(layout) { self.spare.borrow_mut().pop() } else { None };
        let at = kept.unwrap_or_else(|| {
            // SAFETY: the layout is not of size zero.
            let at = unsafe { alloc(layout) };
            NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout))
        });
        Framed::new(self, at.cast(), make)
    }

    /// Takes back the memory of a future that was dropped.
    fn take_back(&self, at: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let mut spare = self.spare.borrow_mut();
        if self.layout.get().is_none() {
            self.layout.set(Some(layout));
        }
        if self.layout.get() == Some(layout) && spare.len() < self.most {
            spare.push(at);
            return;
        }
        drop(spare);
        // SAFETY: it was allocated with this layout, and nobody has it any more.
        unsafe { dealloc(at.as_ptr(), layout) };
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let Some(layout) = self.layout.get() else { return };
        for at in self.spare.get_mut().drain(..) {
            // SAFETY: what is kept was allocated with this layout, and nobody has it.
            unsafe { dealloc(at.as_ptr(), layout) };
        }
    }
}

/// A future in a frame.
pub struct Framed<'f, F> {
    frames: &'f Frames,
    at: NonNull<F>,
    /// It owns one.
    future: PhantomData<F>,
}

impl<'f, F> Framed<'f, F> {
    /// `at` is a frame of the layout of F that nobody else has.
    fn new(frames: &'f Frames, at: NonNull<F>, make: impl FnOnce() -> F) -> Self {
        // SAFETY: both callers give memory that is valid for an F and aligned for one. A panic of `make` leaks it.
        unsafe { at.write(make()) };
        Self { frames, at, future: PhantomData }
    }
}

/// What moves is the place, not the future.
impl<F> Unpin for Framed<'_, F> {}

impl<F: Future> Future for Framed<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `new` put an F there that nobody else has, and it is dropped where it is: it is pinned.
        let future = unsafe { Pin::new_unchecked(self.at.as_mut()) };
        future.poll(cx)
    }
}

impl<F> Drop for Framed<'_, F> {
    fn drop(&mut self) {
        // SAFETY: `new` put an F there that nobody else has, and nobody asks for it after this.
        unsafe { self.at.drop_in_place() };
        self.frames.take_back(self.at.cast(), Layout::new::<F>());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    fn poll<F: Future>(future: &mut Framed<'_, F>) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A future that answers the second time it is asked, and holds `bytes` meanwhile.
    async fn second_time<const SIZE: usize>(bytes: [u8; SIZE], held: Rc<()>) -> u8 {
        let mut asked = false;
        poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        drop(held);
        bytes[SIZE - 1]
    }

    #[test]
    fn a_frame_is_used_again_and_again() {
        let frames = Frames::new(1);
        let held = Rc::new(());
        let mut places = Vec::new();
        for round in 0..3 {
            let mut future = frames.put(|| second_time([round; 100], held.clone()));
            places.push(future.at.as_ptr() as usize);
            assert_eq!(poll(&mut future), Poll::Pending);
            assert_eq!(Rc::strong_count(&held), 2);
            assert_eq!(poll(&mut future), Poll::Ready(round));
        }
        assert_eq!(places, [places[0]; 3]);
    }

    #[test]
    fn what_is_dropped_under_way_lets_go_of_all_it_holds() {
        let frames = Frames::new(8);
        let held = Rc::new(());
        let mut some: Vec<_> = (0..10).map(|round| frames.put(|| second_time([round; 9], held.clone()))).collect();
        assert!(some.iter_mut().all(|future| poll(future).is_pending()));
        assert_eq!(Rc::strong_count(&held), 11);
        drop(some);
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(frames.spare.borrow().len(), 8, "no more are kept than was said");
    }

    #[test]
    fn futures_of_another_kind_have_frames_of_their_own() {
        let frames = Frames::new(8);
        drop(frames.put(|| second_time([0; 50], Rc::new(()))));
        let mut large = frames.put(|| second_time([7; 5_000], Rc::new(())));
        assert_eq!(poll(&mut large), Poll::Pending);
        assert_eq!(poll(&mut large), Poll::Ready(7));
        drop(large);
        assert_eq!(poll(&mut frames.put(|| ready(5))), Poll::Ready(5));
        assert_eq!(poll(&mut frames.put(pending::<()>)), Poll::Pending);
        assert_eq!(frames.spare.borrow().len(), 1);
    }
}
