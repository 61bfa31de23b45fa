//! `grpc-status`.

macro_rules! codes {
    ( $( $(#[$doc:meta])* $variant:ident = $number:literal, $name:literal; )* ) => {
        /// What a call came to.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Code {
            $( $(#[$doc])* #[doc = concat!("(`", $name, "`, ", stringify!($number), ")")] $variant = $number, )*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: [Self; 17] = [$( Self::$variant, )*];

            /// Its name, in lower case with hyphens.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }
        }
    };
}

codes! {
    /// It went well.
    Ok = 0, "ok";
    /// It was given up.
    Cancelled = 1, "cancelled";
    /// Nothing better is known.
    Unknown = 2, "unknown";
    /// What was asked is wrong.
    InvalidArgument = 3, "invalid-argument";
    /// Its time was up.
    DeadlineExceeded = 4, "deadline-exceeded";
    /// There is no such thing.
    NotFound = 5, "not-found";
    /// There is such a thing already.
    AlreadyExists = 6, "already-exists";
    /// The caller may not.
    PermissionDenied = 7, "permission-denied";
    /// A quota or a limit is spent.
    ResourceExhausted = 8, "resource-exhausted";
    /// Things are not as they would have to be.
    FailedPrecondition = 9, "failed-precondition";
    /// Others came between.
    Aborted = 10, "aborted";
    /// Past the end.
    OutOfRange = 11, "out-of-range";
    /// There is no such method.
    Unimplemented = 12, "unimplemented";
    /// Something is broken.
    Internal = 13, "internal";
    /// Nobody could be asked; later somebody may.
    Unavailable = 14, "unavailable";
    /// Data are lost.
    DataLoss = 15, "data-loss";
    /// It is not known who the caller is.
    Unauthenticated = 16, "unauthenticated";
}

impl Code {
    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The one of this number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// What a field says: a number in its one form.
    pub fn read(value: &[u8]) -> Option<Self> {
        let number = match value {
            [one @ b'0'..=b'9'] => one - b'0',
            [b'1', one @ b'0'..=b'9'] => 10 + (one - b'0'),
            _ => return None,
        };
        Self::of(number)
    }

    /// Appends it as a field has it.
    pub fn write(self, out: &mut Vec<u8>) {
        let number = self.number();
        if number >= 10 {
            out.push(b'1');
        }
        out.push(b'0' + number % 10);
    }

    /// What an answer without a `grpc-status` comes to, by its status of HTTP ([http-grpc-status-mapping]).
    ///
    /// [http-grpc-status-mapping]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
    pub const fn of_http(status: u16) -> Self {
        match status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}
