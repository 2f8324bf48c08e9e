//! Errors of fetching attachments.

/// Reason an attachment was not read. Messages follow the name of the field at fault
/// and quote nothing of the attachment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("is not a URL; write it as https://example.com/page")]
    NotUrl,
    #[error("must begin with https:// or http://")]
    Scheme,
    #[error("must not hold a user name or a password")]
    UserInfo,
    #[error("has a port that this server does not fetch from")]
    Port,
    /// No public address, or no such name: which names a private network has must not be
    /// told.
    #[error("has no public address")]
    NotPublic,
    #[error("could not be reached; check the URL")]
    Unreachable,
    #[error("redirects more than {0} times; send the URL that it leads to")]
    Redirects(usize),
    #[error("redirects to an address that this server does not fetch from")]
    Redirected,
    #[error("answered with status {0}")]
    Status(u16),
    #[error("is of a kind that cannot be read; send HTML, text, JSON, XML or PDF")]
    Kind,
    #[error("is compressed in a way that cannot be read, or damaged; only gzip can be read")]
    Compression,
    #[error("is larger than {0} bytes; send a smaller one")]
    TooLarge(usize),
    #[error("has more than {0} bytes of text; send a shorter one")]
    TooLong(usize),
    #[error("took too long; try again, or send another URL")]
    Slow,
    #[error("ended before it was complete; try again")]
    Interrupted,
    #[error("is not base64; send a PDF as a URL, a data:application/pdf;base64 URL, or base64")]
    NotBase64,
    #[error("is not a PDF")]
    NotPdf,
    #[error("is a damaged PDF; save it again with another program")]
    DamagedPdf,
    #[error("is an encrypted PDF; send it without its password")]
    EncryptedPdf,
    #[error("is a PDF with more than {0} pages; send fewer")]
    Pages(usize),
    #[error("is a PDF that takes too much memory or time to read; send fewer pages")]
    CostlyPdf,
    #[error("holds no text; pictures and scanned pages are not read")]
    Empty,
    /// No capacity, or a failure of the server: not the caller's fault.
    #[error("cannot be read at the moment; try again")]
    Busy,
}

impl FetchError {
    /// Stable name for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotUrl => "not_url",
            Self::Scheme => "scheme",
            Self::UserInfo => "user_info",
            Self::Port => "port",
            Self::NotPublic => "not_public",
            Self::Unreachable => "unreachable",
            Self::Redirects(_) => "redirects",
            Self::Redirected => "redirected",
            Self::Status(_) => "status",
            Self::Kind => "kind",
            Self::Compression => "compression",
            Self::TooLarge(_) => "too_large",
            Self::TooLong(_) => "too_long",
            Self::Slow => "slow",
            Self::Interrupted => "interrupted",
            Self::NotBase64 => "not_base64",
            Self::NotPdf => "not_pdf",
            Self::DamagedPdf => "damaged_pdf",
            Self::EncryptedPdf => "encrypted_pdf",
            Self::Pages(_) => "pages",
            Self::CostlyPdf => "costly_pdf",
            Self::Empty => "empty",
            Self::Busy => "busy",
        }
    }
}
