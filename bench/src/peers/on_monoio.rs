//! The bare proxy on monoio: `io_uring`, one thread, with the set-up flags its driver can bear.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use monoio::buf::IoBufMut as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::{TcpListener, TcpStream};
use monoio_uring::IoUring;

use super::exchange::{Exchange, READ_BYTES, Refused};

const ENTRIES: u32 = 4096;

/// Proxies from `listen` to `to` until `lifetime` is over.
///
/// # Errors
/// When the address cannot be bound, or the kernel lacks a feature.
pub(crate) fn run(listen: SocketAddr, to: SocketAddr, lifetime: Duration) -> io::Result<()> {
    // Not DEFER_TASKRUN: its driver looks for completions without entering the kernel.
    let mut flags = IoUring::builder();
    flags.setup_single_issuer().setup_coop_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(ENTRIES)
        .uring_builder(flags)
        .enable_timer()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen)?;
        let accept = async {
            loop {
                let (client, _) = listener.accept().await?;
                monoio::spawn(async move {
                    // A connection that fails has nobody left to tell.
                    let _ = serve(client, to).await;
                });
            }
        };
        monoio::time::timeout(lifetime, accept).await.unwrap_or(Ok(()))
    })
}

async fn serve(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut upstream = TcpStream::connect_addr(to).await?;
    upstream.set_nodelay(true)?;
    let refused = |Refused| io::Error::from(io::ErrorKind::InvalidData);
    let mut exchange = Exchange::default();
    let [mut asked, mut answered, mut out] = [(); 3].map(|()| Vec::with_capacity(READ_BYTES));
    loop {
        while !exchange.request(&mut asked, &mut out).map_err(refused)? {
            out = write(&mut upstream, out).await?;
            let count;
            (count, asked) = read(&mut client, asked).await?;
            if count == 0 {
                return Ok(());
            }
        }
        out = write(&mut upstream, out).await?;
        while !exchange.response(&mut answered, &mut out).map_err(refused)? {
            out = write(&mut client, out).await?;
            let count;
            (count, answered) = read(&mut upstream, answered).await?;
            if count == 0 {
                return Ok(());
            }
        }
        out = write(&mut client, out).await?;
        if !exchange.goes_on() {
            return Ok(());
        }
    }
}

/// Reads behind what the buffer holds.
async fn read(stream: &mut TcpStream, mut buffer: Vec<u8>) -> io::Result<(usize, Vec<u8>)> {
    buffer.reserve(READ_BYTES / 4);
    let held = buffer.len();
    let (outcome, slice) = stream.read(buffer.slice_mut(held..)).await;
    Ok((outcome?, slice.into_inner()))
}

/// Writes all of the buffer and returns it empty.
async fn write(stream: &mut TcpStream, buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    if buffer.is_empty() {
        return Ok(buffer);
    }
    let (outcome, mut buffer) = stream.write_all(buffer).await;
    outcome?;
    buffer.clear();
    Ok(buffer)
}
