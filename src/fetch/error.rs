//! Why something cannot be read for a request.

/// Why an attachment was not read. The words follow the name of the field at
/// fault and quote nothing of what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("is not a URL; write it as https://example.com/page")]
    NotUrl,
    #[error("must begin with https:// or http://")]
    Scheme,
    #[error("must not hold a user name or a password")]
    UserInfo,
    #[error("has a port that is not fetched from")]
    Port,
    /// Also for names that do not exist: which names a private network knows is
    /// nobody's business.
    #[error("has no public address")]
    NotPublic,
    #[error("could not be reached")]
    Unreachable,
    #[error("redirects more than {0} times")]
    Redirects(usize),
    #[error("redirects to where nothing is fetched from")]
    Redirected,
    #[error("answered with status {0}")]
    Status(u16),
    #[error("is of a kind that cannot be read; HTML, text, JSON, XML and PDF can")]
    Kind,
    #[error("is compressed in a way that cannot be read, or damaged")]
    Compression,
    #[error("is larger than {0} bytes")]
    TooLarge(usize),
    #[error("has more than {0} bytes of text")]
    TooLong(usize),
    #[error("took too long")]
    Slow,
    #[error("ended before it was complete")]
    Interrupted,
    #[error("is not base64; send a PDF as a URL, a data:application/pdf;base64 URL, or base64")]
    NotBase64,
    #[error("is not a PDF")]
    NotPdf,
    #[error("is a damaged PDF")]
    DamagedPdf,
    #[error("is an encrypted PDF; send it without its password")]
    EncryptedPdf,
    #[error("is a PDF with more than {0} pages")]
    Pages(usize),
    #[error("is a PDF that takes too much memory or time to read")]
    CostlyPdf,
    #[error("holds no text; pictures and scanned pages are not read")]
    Empty,
    /// Not the caller's fault.
    #[error("cannot be read at the moment; try again")]
    Busy,
}

impl FetchError {
    /// The stable name, as metrics show it.
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
