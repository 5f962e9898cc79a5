//! How names are spelled in answers: percent-encoded where the client asks for it or XML cannot carry them.
//!
//! XML 1.0 has no way to write most control characters, and s3s would answer 500 rather than send a broken document. A
//! page that holds such a name is therefore sent url-encoded *and says so* (`EncodingType`), even when nobody asked: a
//! client that reads that element sees the true names, and no name is changed or left out in silence.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::EncodingType;

use crate::error::Failure;

/// Everything but the unreserved characters and the slash, as AWS does.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A key as it stands in a URL's path.
pub(super) fn url(text: &str) -> String {
    utf8_percent_encode(text, KEY).to_string()
}

/// Whether XML 1.0 carries this character unchanged. A bare carriage return is read back as a line feed.
fn carried(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Text for people in an XML document: what XML cannot carry becomes U+FFFD.
pub(crate) fn xml_text(text: &str) -> Cow<'_, str> {
    if text.chars().all(carried) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if carried(c) { c } else { '\u{fffd}' }).collect())
}

/// How the names of one page are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As they are.
    Plain,
    /// Percent-encoded, which the page says.
    Url,
}

impl Spelling {
    /// What the client asked for, or what the names of this page need.
    pub(super) fn choose<'a>(
        asked: Option<&EncodingType>,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, Failure> {
        match asked.map(EncodingType::as_str) {
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(Failure::request(400, "InvalidArgument", "Invalid encoding method specified in request.")),
            None if names.all(|name| name.chars().all(carried)) => Ok(Self::Plain),
            None => Ok(Self::Url),
        }
    }

    /// A name in this spelling.
    pub(super) fn say(self, name: &str) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::Url => url(name),
        }
    }

    /// What the page says of itself.
    pub(super) fn declared(self) -> Option<EncodingType> {
        (self == Self::Url).then(|| EncodingType::from_static(EncodingType::URL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded_but_for_unreserved_characters_and_slashes() {
        assert_eq!(url("a-b_c.d~e/f"), "a-b_c.d~e/f");
        assert_eq!(url("a b+c&d=é\u{1}%"), "a%20b%2Bc%26d%3D%C3%A9%01%25");
        assert_eq!(url("日"), "%E6%97%A5");
    }

    #[test]
    fn a_page_is_url_encoded_when_it_is_asked_for_or_needed() {
        let asked = EncodingType::from_static(EncodingType::URL);
        let choose = |asked, names: &[&str]| Spelling::choose(asked, names.iter().copied());
        assert_eq!(choose(Some(&asked), &[]).unwrap(), Spelling::Url);
        assert_eq!(choose(None, &["a b", "é\t\n", "<&>"]).unwrap(), Spelling::Plain);
        for bad in ["a\u{1}", "a\rb", "\u{1b}[0m", "\u{ffff}"] {
            assert_eq!(choose(None, &["fine", bad]).unwrap(), Spelling::Url, "{bad:?}");
        }
        let other = EncodingType::from("base64".to_owned());
        assert_eq!(choose(Some(&other), &[]).unwrap_err().face().code, "InvalidArgument");
    }

    #[test]
    fn text_for_people_never_breaks_the_document() {
        assert_eq!(xml_text("fine"), "fine");
        assert_eq!(xml_text("a\u{0}b\rc"), "a\u{fffd}b\u{fffd}c");
    }
}
