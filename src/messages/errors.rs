//! What WhatsApp's error codes mean for whoever sent a message.

/// Whether sending the same message again can help, perhaps later: the failure was of the moment, or of the rate. A
/// closed window (131047) needs another message, and so counts as no.
pub fn is_retryable(code: i64) -> bool {
    matches!(
        code,
        1 | 2 | 4 | 80007 | 130_429 | 131_000 | 131_016 | 131_048 | 131_049 | 131_056 | 131_057 | 133_004
    )
}
