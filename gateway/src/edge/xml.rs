//! Error documents, made whole: every one has a message and the request's id, whoever wrote it first.
//!
//! s3s writes most of them, from inside the signature check to the handlers, and leaves out what it does not know.

use crate::error::Face;
use crate::s3::xml_text;

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in xml_text(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A whole error document.
pub(super) fn document(face: &Face, resource: &str, request_id: &str, host_id: &str) -> String {
    let (code, message) = (escape(face.code), escape(&face.message));
    let bare = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    complete(&bare, resource, (request_id, host_id), "")
}

/// The code of an error document.
pub(super) fn code(document: &str) -> Option<&str> {
    let rest = document.split_once("<Code>")?.1;
    Some(rest.split_once("</Code>")?.0)
}

/// What a form's policy did not allow. S3 denies that; s3s calls the policy invalid, as it calls one that is none.
pub(super) fn policy_unmet(document: &str) -> Option<&str> {
    let said = document.split_once("<Message>")?.1;
    let rest = match said.strip_prefix("Policy condition ") {
        Some(rest) => rest,
        None if said.starts_with("Bucket in form field") => said,
        None => return None,
    };
    (code(document) == Some("InvalidPolicyDocument")).then(|| rest.split("</Message>").next()).flatten()
}

/// Whether the handlers wrote this document: only they know the request's id.
pub(super) fn has_request_id(document: &str) -> bool {
    document.contains("<RequestId>")
}

/// Adds what an error document lacks. What is no error document stays as it is.
pub(super) fn complete(document: &str, resource: &str, (request_id, host_id): (&str, &str), region: &str) -> String {
    let (Some(code), Some((head, tail))) = (code(document), document.rsplit_once("</Error>")) else {
        return document.to_owned();
    };
    let mut whole = head.to_owned();
    if !document.contains("<Message>") {
        whole.push_str("<Message>The request could not be served: ");
        whole.push_str(code);
        whole.push_str(".</Message>");
    }
    // Clients that guessed the wrong region read the right one here, and sign again.
    if code == "AuthorizationHeaderMalformed" && !region.is_empty() {
        whole.push_str(&format!("<Region>{}</Region>", escape(region)));
    }
    whole.push_str(&format!("<Resource>{}</Resource>", escape(resource)));
    if !has_request_id(document) {
        whole.push_str(&format!("<RequestId>{}</RequestId>", escape(request_id)));
    }
    whole.push_str(&format!("<HostId>{}</HostId></Error>{tail}", escape(host_id)));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchThing</Code></Error>";

    #[test]
    fn an_error_document_has_a_message_and_the_request_id() {
        let whole = complete(BARE, "/b/<k>", ("abc", "def"), "us-east-1");
        assert_eq!(
            whole,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchThing</Code>\
             <Message>The request could not be served: NoSuchThing.</Message><Resource>/b/&lt;k&gt;</Resource>\
             <RequestId>abc</RequestId><HostId>def</HostId></Error>"
        );
        assert!(has_request_id(&whole));
    }

    #[test]
    fn what_is_there_stays() {
        let said = "<Error><Code>X</Code><Message>m</Message><RequestId>abc</RequestId></Error>";
        let whole = complete(said, "/", ("other", "def"), "");
        assert_eq!(whole.matches("<Message>").count(), 1);
        assert_eq!(whole.matches("<RequestId>abc</RequestId>").count(), 1);
        assert_eq!(whole.matches("<RequestId>").count(), 1);
        assert_eq!(complete("<ListBucketResult/>", "/", ("abc", "def"), ""), "<ListBucketResult/>");
    }

    #[test]
    fn a_wrong_region_is_answered_with_the_right_one() {
        let said = BARE.replace("NoSuchThing", "AuthorizationHeaderMalformed");
        assert!(complete(&said, "/", ("abc", "def"), "eu-1").contains("<Region>eu-1</Region>"));
    }

    #[test]
    fn a_document_of_our_own_is_whole_and_escaped() {
        let face = Face { status: http::StatusCode::FORBIDDEN, code: "AccessDenied", message: "a < b\u{0}".to_owned() };
        let whole = document(&face, "/b", "abc", "def");
        assert!(whole.contains("<Message>a &lt; b\u{fffd}</Message>") && whole.contains("<RequestId>abc</RequestId>"));
        assert_eq!(code(&whole), Some("AccessDenied"));
    }
}
