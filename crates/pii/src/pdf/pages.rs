//! Ranges of pages, as `1-3,5`.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::PdfError;

/// Most ranges of one selection.
const MAX_RANGES: usize = 100;

/// Page numbers from 1, as ranges in the order of the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRanges(Vec<RangeInclusive<u32>>);

/// Reason page ranges were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageRangesError {
    /// A part that is neither a page number nor a range.
    #[error("`pages` must be page numbers and ranges such as `1-3,5`, not `{part}`")]
    Form {
        /// The part that cannot be read, shortened.
        part: String,
    },
    /// Page 0; pages count from 1.
    #[error("`pages` counts from 1")]
    Zero,
    /// A range that ends before it begins.
    #[error("`pages` has a range that ends before it begins: `{first}-{last}`")]
    Backwards {
        /// First page as written.
        first: u32,
        /// Last page as written.
        last: u32,
    },
    /// No page at all, or too many ranges.
    #[error("`pages` must have 1 to {MAX_RANGES} ranges; leave it out for all pages")]
    Count,
}

impl FromStr for PageRanges {
    type Err = PageRangesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() || text.split(',').count() > MAX_RANGES {
            return Err(PageRangesError::Count);
        }
        let mut ranges = text.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable_by_key(|range| *range.start());
        Ok(Self(ranges))
    }
}

fn range(part: &str) -> Result<RangeInclusive<u32>, PageRangesError> {
    let part = part.trim();
    let number = |digits: &str| {
        let digits = digits.trim();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| plain);
        number.ok_or_else(|| PageRangesError::Form { part: part.chars().take(32).collect() })
    };
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (number(first)?, number(last)?);
    if first == 0 || last == 0 {
        return Err(PageRangesError::Zero);
    }
    if first > last {
        return Err(PageRangesError::Backwards { first, last });
    }
    Ok(first..=last)
}

impl PageRanges {
    /// Selected pages of a file with `pages` pages, each once and in order.
    ///
    /// # Errors
    /// [`PdfError::NoSuchPage`] for a range that goes beyond the end of the file.
    pub(super) fn within(&self, pages: u32) -> Result<Vec<u32>, PdfError> {
        if let Some(range) = self.0.iter().find(|range| *range.end() > pages) {
            let page = (*range.start()).max(pages.saturating_add(1));
            return Err(PdfError::NoSuchPage { page, pages });
        }
        let mut wanted: Vec<u32> = self.0.iter().cloned().flatten().collect();
        wanted.sort_unstable();
        wanted.dedup();
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<u32>, String> {
        let ranges: PageRanges = text.parse().map_err(|error: PageRangesError| error.to_string())?;
        ranges.within(9).map_err(|error| error.to_string())
    }

    #[test]
    fn ranges_are_read_and_checked() {
        for (text, expected) in [
            ("1", Ok(vec![1])),
            ("1-3,5", Ok(vec![1, 2, 3, 5])),
            (" 7 - 9 , 8, 2 ", Ok(vec![2, 7, 8, 9])),
            ("", Err("`pages` must have 1 to 100 ranges; leave it out for all pages")),
            ("0", Err("`pages` counts from 1")),
            ("3-2", Err("`pages` has a range that ends before it begins: `3-2`")),
            ("1,,2", Err("`pages` must be page numbers and ranges such as `1-3,5`, not ``")),
            ("1-", Err("`pages` must be page numbers and ranges such as `1-3,5`, not `1-`")),
            ("+1", Err("`pages` must be page numbers and ranges such as `1-3,5`, not `+1`")),
            ("1-2-3", Err("`pages` must be page numbers and ranges such as `1-3,5`, not `1-2-3`")),
            (
                "99999999999",
                Err("`pages` must be page numbers and ranges such as `1-3,5`, not `99999999999`"),
            ),
            ("8-4000000000", Err("page 10 is selected, but the PDF has 9")),
            ("12", Err("page 12 is selected, but the PDF has 9")),
        ] {
            assert_eq!(parse(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
