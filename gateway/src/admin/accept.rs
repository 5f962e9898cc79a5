//! Which of the media types that can be given a client prefers (RFC 9110, section 12.5.1).

use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use super::problem::Problem;

/// The offered media type that the `Accept` headers like best; the first of equals, and the first when there is no such
/// header.
///
/// # Errors
/// 406 when none of them will do.
pub(super) fn choose(headers: &HeaderMap, offers: &[&'static str]) -> Result<&'static str, Problem> {
    let accepted: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<Range<'_>> = accepted.iter().flat_map(|value| value.split(',')).filter_map(Range::parse).collect();
    let mut best: Option<(&'static str, u16)> = None;
    for offer in offers {
        let quality = if ranges.is_empty() { 1000 } else { quality(&ranges, offer) };
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((offer, quality));
        }
    }
    best.map(|(offer, _)| offer).ok_or_else(|| {
        let detail = format!("This can be given as {} only.", offers.join(", "));
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail)
    })
}

struct Range<'a> {
    kind: &'a str,
    subkind: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut pieces = text.split(';').map(str::trim);
        let (kind, subkind) = pieces.next()?.split_once('/')?;
        let quality = pieces.find_map(|piece| piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q=")));
        let quality = match quality {
            Some(text) => text.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))?,
            None => 1.0,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
        Some(Self { kind, subkind, quality: (quality * 1000.0) as u16 })
    }

    /// How closely the range describes the media type; `None` when it does not.
    fn closeness(&self, kind: &str, subkind: &str) -> Option<u8> {
        if self.kind == "*" && self.subkind == "*" {
            Some(0)
        } else if !self.kind.eq_ignore_ascii_case(kind) {
            None
        } else if self.subkind == "*" {
            Some(1)
        } else {
            self.subkind.eq_ignore_ascii_case(subkind).then_some(2)
        }
    }
}

/// What the closest range says of the media type.
fn quality(ranges: &[Range<'_>], offer: &str) -> u16 {
    let (kind, subkind) = offer.split_once('/').unwrap_or((offer, ""));
    let closest = ranges.iter().filter_map(|range| Some((range.closeness(kind, subkind)?, range.quality)));
    closest.max_by_key(|(closeness, _)| *closeness).map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 3] = ["application/json", "text/event-stream", "application/cbor-seq"];

    fn chosen(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        choose(&headers, &OFFERS).ok()
    }

    #[test]
    fn the_best_liked_offer_is_given() {
        assert_eq!(choose(&HeaderMap::new(), &OFFERS).ok(), Some("application/json"));
        assert_eq!(chosen("*/*"), Some("application/json"));
        assert_eq!(chosen("text/html, */*;q=0.8"), Some("application/json"));
        assert_eq!(chosen("text/event-stream"), Some("text/event-stream"));
        assert_eq!(chosen("Text/*"), Some("text/event-stream"));
        assert_eq!(chosen("application/json;q=0.5, application/cbor-seq"), Some("application/cbor-seq"));
        assert_eq!(chosen("application/json;q=0, */*"), Some("text/event-stream"));
        assert_eq!(chosen("application/json; charset=utf-8"), Some("application/json"));
        assert_eq!(chosen("image/png"), None);
        assert_eq!(chosen("application/json;q=0"), None);
    }
}
