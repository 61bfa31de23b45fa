//! What becomes of requests that are sent twice: hedges, and copies for mirrors.

use super::labels::label;

label! {
    /// What became of a hedge.
    Hedged {
        /// The request went to another endpoint as well.
        Sent = "sent",
        /// That one's answer is the client's.
        Won = "won",
        /// Another one's is.
        Lost = "lost",
        /// There would be too many.
        OutOfBudget = "out_of_budget",
        /// There is nobody else to ask, or everybody has enough to do.
        NoEndpoint = "no_endpoint",
    }
}

label! {
    /// What became of a copy of a request.
    Mirrored {
        /// The mirror answered, with a status of this class.
        Success = "2xx",
        /// The same.
        Redirect = "3xx",
        /// The same.
        ClientError = "4xx",
        /// The same.
        ServerError = "5xx",
        /// It was sent, and there was none in time.
        NoAnswer = "no_answer",
        /// No connection to the mirror was to be had at once.
        NoConnection = "no_connection",
        /// Its body is longer than what is kept.
        TooLarge = "too_large",
        /// There are as many as there may be, or the core has too much to do.
        Busy = "busy",
        /// Its request did not go out whole.
        Incomplete = "incomplete",
    }
}

impl Mirrored {
    /// The mirror answered so.
    pub fn of(status: u16) -> Self {
        match status {
            ..300 => Self::Success,
            300..400 => Self::Redirect,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}
