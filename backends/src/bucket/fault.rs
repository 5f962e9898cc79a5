//! What can go wrong between here and an S3 store, and what each of it means for whoever asked.
//!
//! Invariant: nothing here holds a secret; a store's answer is kept as its status, its code and a bounded message.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use opendal::ErrorKind;

use crate::error::Error;

/// A request that came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// The store answered, and said no.
    #[error("{}", refusal(*status, code, message))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The code in S3's error XML; empty where there is none.
        code: String,
        /// What the store says of it; often nothing.
        message: String,
    },
    /// The store took something else than was sent.
    #[error("it says to have stored other bytes than were sent")]
    Damaged,
    /// The store did not go on in time.
    #[error("it gave no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// All places for requests were taken for too long.
    #[error("{0} requests were on their way already, and none ended in time")]
    Crowded(usize),
    /// Whoever answers is not shown to be the store.
    #[error("its certificate is not trusted ({0}): storage_s3_ca_file can name the authority that issued it")]
    Untrusted(String),
    /// No connection, or one that broke.
    #[error("the connection failed")]
    Connection(#[source] Arc<dyn StdError + Send + Sync>),
}

/// Codes with which a store says that there is no more room: a quota, or the disks themselves.
const FULL: [&str; 5] =
    ["QuotaExceeded", "InsufficientCapacity", "InsufficientStorage", "XMinioStorageFull", "StorageFull"];
/// Codes that another attempt may well not meet. A damaged body arrives whole the next time.
const PASSING: [&str; 7] = [
    "BadDigest",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "TooManyRequests",
];

impl Fault {
    /// Whether another attempt may succeed.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Refused { .. } if self.is_full() => false,
            Self::Refused { status, code, .. } => {
                PASSING.contains(&code.as_str()) || matches!(status, 408 | 429 | 500 | 502..=504)
            }
            Self::Silent(_) | Self::Connection(_) | Self::Damaged => true,
            // It waited long enough already; or somebody has to mend it.
            Self::Crowded(_) | Self::Untrusted(_) => false,
        }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Refused { status, code, .. } if *status == 507 || FULL.contains(&code.as_str()))
    }

    /// The fault that an error of OpenDAL carries; an error of its own making becomes a connection's.
    pub(super) fn of(error: opendal::Error) -> Self {
        let mut source = StdError::source(&error);
        while let Some(cause) = source {
            if let Some(fault) = cause.downcast_ref::<Self>() {
                return fault.clone();
            }
            source = cause.source();
        }
        if error.is_temporary() {
            return Self::Connection(Arc::new(error));
        }
        let status = if error.kind() == ErrorKind::NotFound { 404 } else { 0 };
        Self::Refused { status, code: error.kind().into_static().to_owned(), message: error.to_string() }
    }

    /// Whether it says that the object is not there. A bucket that is not there is another matter.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code, .. } if code != "NoSuchBucket")
    }

    /// Whether it says that the range begins past the end.
    pub(super) fn is_past_the_end(&self) -> bool {
        matches!(self, Self::Refused { status: 416, .. })
    }

    /// The same for whoever asked, with the store named.
    pub(super) fn at(self, store: &Arc<str>) -> Error {
        let (full, passes) = (self.is_full(), self.passes() || matches!(self, Self::Crowded(_)));
        let source = Box::new(AtStore { store: Arc::clone(store), fault: self });
        match (full, passes) {
            (true, _) => Error::StorageFull(source),
            (false, true) => Error::Unavailable(source),
            (false, false) => Error::Backend(source),
        }
    }
}

impl From<Fault> for opendal::Error {
    fn from(fault: Fault) -> Self {
        let kind = match &fault {
            fault if fault.is_absence() => ErrorKind::NotFound,
            fault if fault.is_past_the_end() => ErrorKind::RangeNotSatisfied,
            _ => ErrorKind::Unexpected,
        };
        let passes = fault.passes();
        let error = Self::new(kind, "the store did not do it").set_source(fault);
        if passes { error.set_temporary() } else { error }
    }
}

/// A fault, and which store it is about.
#[derive(Debug, thiserror::Error)]
#[error("{store}")]
struct AtStore {
    store: Arc<str>,
    #[source]
    fault: Fault,
}

/// What an operator can do about it comes first; what the store itself said behind it.
fn refusal(status: u16, code: &str, message: &str) -> String {
    let meaning = match code {
        "NoSuchBucket" => "there is no such bucket",
        "InvalidAccessKeyId" => "the access key is not known there",
        "SignatureDoesNotMatch" => "the secret key does not go with the access key",
        "AccessDenied" => "the access key may not do this",
        "RequestTimeTooSkewed" => "the clocks here and there differ too much",
        "QuotaExceeded" => "its quota is used up",
        "PermanentRedirect" | "AuthorizationHeaderMalformed" => "the bucket is in another region",
        "BadDigest" => "the bytes were damaged on their way",
        _ => "it refused",
    };
    let code = if code.is_empty() { String::new() } else { format!(" {code}") };
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{meaning} ({status}{code}{message})")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Fault;
    use crate::error::Error;

    fn refused(status: u16, code: &str) -> Fault {
        Fault::Refused { status, code: code.to_owned(), message: String::new() }
    }

    #[test]
    fn a_fault_survives_its_way_through_opendal() {
        for fault in [refused(404, "NoSuchKey"), refused(400, "BadDigest"), Fault::Silent(Duration::from_secs(3))] {
            let back = Fault::of(opendal::Error::from(fault.clone()));
            assert_eq!(format!("{back:?}"), format!("{fault:?}"));
        }
    }

    #[test]
    fn each_fault_is_what_its_asker_can_act_on() {
        let store = Arc::from("somewhere");
        for fault in [refused(503, "SlowDown"), refused(500, ""), refused(400, "BadDigest"), refused(429, "")] {
            assert!(fault.passes(), "{fault:?}");
            assert!(matches!(fault.at(&store), Error::Unavailable(_)));
        }
        for fault in [refused(403, "AccessDenied"), refused(404, "NoSuchBucket"), refused(403, "SignatureDoesNotMatch")]
        {
            assert!(!fault.passes() && !fault.is_absence(), "{fault:?}");
            assert!(matches!(fault.at(&store), Error::Backend(_)));
        }
        for fault in [refused(403, "QuotaExceeded"), refused(507, "")] {
            assert!(!fault.passes(), "{fault:?}");
            assert!(matches!(fault.at(&store), Error::StorageFull(_)));
        }
        assert!(matches!(Fault::Silent(Duration::ZERO).at(&store), Error::Unavailable(_)));
        assert!(matches!(Fault::Crowded(1).at(&store), Error::Unavailable(_)));
    }
}
