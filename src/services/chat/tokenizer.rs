//! Count of tokens where no upstream reports it.
//!
//! `bpe-openai` counts in linear time whatever the text is, and has its vocabularies within the program.

use crate::config::Tokenizer;

impl Tokenizer {
    /// Returns the number of tokens of a text.
    #[must_use]
    pub(super) fn count(self, text: &str) -> u64 {
        let vocabulary = match self {
            Self::O200kBase => bpe_openai::o200k_base(),
            Self::Cl100kBase => bpe_openai::cl100k_base(),
        };
        vocabulary.count(text) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of `tiktoken`, OpenAI's own.
    #[test]
    fn tokens_are_counted_as_models_count_them() {
        for (text, o200k, cl100k) in [
            ("", 0, 0),
            ("hello world", 2, 2),
            ("tiktoken is great!", 6, 6),
            ("お誕生日おめでとう", 8, 9),
            ("antidisestablishmentarianism", 6, 6),
        ] {
            let counted = [Tokenizer::O200kBase, Tokenizer::Cl100kBase].map(|kind| kind.count(text));
            assert_eq!(counted, [o200k, cl100k], "{text}");
        }
    }
}
