//! S3 Object Lock: the wire face of retention. It reads and writes the same state as every other road to it.

use artifactstore_registry::Refusal;
use artifactstore_registry::actions::request::FoundFile;
use artifactstore_registry::actions::retention::RetentionOrder;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::access::Permission;
use artifactstore_registry::model::cbor::TextMap;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice};
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{ClassName, FileName, HoldName, ProducerName};
use artifactstore_registry::model::retention::{CLASS_TAG, LockTerms, Mode, Period, Retention};
use artifactstore_registry::model::row::Producer;
use http::HeaderMap;
use s3s::dto::{
    self, DefaultRetention, GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode, ObjectLockRule, PutObjectLegalHoldInput, PutObjectLegalHoldOutput,
    PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput, PutObjectRetentionInput,
    PutObjectRetentionOutput,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, faces, header, version};
use crate::error::Failure;

/// The header that gives a file a retention class.
const CLASS: &str = "x-artifact-retention-class";
const MODE: &str = "x-amz-object-lock-mode";
const RETAIN_UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";

fn malformed(message: &str) -> Failure {
    Failure::request(400, "MalformedXML", message)
}

fn invalid(message: &str) -> Failure {
    Failure::request(400, "InvalidArgument", message)
}

fn mode(word: &str) -> Option<Mode> {
    match word {
        ObjectLockRetentionMode::GOVERNANCE => Some(Mode::Governance),
        ObjectLockRetentionMode::COMPLIANCE => Some(Mode::Compliance),
        _ => None,
    }
}

const fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
        Mode::Governance | Mode::None => ObjectLockRetentionMode::GOVERNANCE,
    }
}

fn moment(at: &dto::Timestamp) -> Timestamp {
    let nanos = time::OffsetDateTime::from(at.clone()).unix_timestamp_nanos();
    Timestamp(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
}

/// What a write asks its file to be kept by.
pub(super) fn of_request(headers: &HeaderMap) -> Result<Retention, Failure> {
    let lock = match (header(headers, MODE), header(headers, RETAIN_UNTIL)) {
        (None, None) => None,
        (Some(word), Some(until)) => {
            let mode = mode(word).ok_or_else(|| invalid("Unknown wormMode directive."))?;
            let until = dto::Timestamp::parse(dto::TimestampFormat::DateTime, until)
                .map_err(|_| invalid("The retain until date must be provided in ISO 8601 format."))?;
            Some(LockTerms { mode, retain_until: moment(&until) })
        }
        _ => return Err(invalid(&format!("{RETAIN_UNTIL} and {MODE} must both be supplied."))),
    };
    let legal_hold = match header(headers, LEGAL_HOLD) {
        None | Some("OFF") => false,
        Some("ON") => true,
        Some(_) => return Err(invalid("Legal Hold must be either of 'ON' or 'OFF'.")),
    };
    let classes = header(headers, CLASS).map(ClassName::parse).transpose()?.into_iter().collect();
    Ok(Retention { lock, classes, legal_hold })
}

/// Refuses to let a key that may not retain have a file kept, by headers or by the tag that names a class: what is kept
/// cannot be taken back by whoever else may.
pub(super) fn permit<T>(
    gateway: &Gateway,
    req: &S3Request<T>,
    name: &FileName,
    retention: &Retention,
    tags: Option<&TextMap>,
) -> Result<(), Failure> {
    if retention.is_empty() && tags.is_none_or(|tags| tags.get(CLASS_TAG).is_none()) {
        return Ok(());
    }
    gateway.permit(req, Permission::Retain, name.producer.as_str(), name.key.as_str())
}

/// Refuses a body that is to be locked and that nothing says to be whole: it could not be replaced by a better one.
pub(super) fn check_declared(retention: &Retention, headers: &HeaderMap) -> Result<(), Failure> {
    let declares = |name: &str| {
        name == "content-md5" || name == "x-amz-trailer" || (name.starts_with("x-amz-checksum-") && name.len() > 15)
    };
    if (retention.lock.is_none() && !retention.legal_hold) || headers.keys().any(|name| declares(name.as_str())) {
        return Ok(());
    }
    let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock \
                   parameters.";
    Err(Failure::request(400, "InvalidRequest", message))
}

/// What GET and HEAD show of what keeps a file by itself.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) mode: Option<ObjectLockMode>,
    pub(super) retain_until: Option<dto::Timestamp>,
    pub(super) legal_hold: Option<ObjectLockLegalHoldStatus>,
}

pub(super) async fn shown(gateway: &Gateway, found: &FoundFile) -> Result<Shown, Failure> {
    let keeping = &found.file.keeping;
    if keeping.is_empty() {
        return Ok(Shown::default());
    }
    let terms = gateway.registry.file_retention(&found.file).await?;
    let held = keeping.hold(&HoldName::legal()).is_some();
    Ok(Shown {
        mode: terms.map(|terms| ObjectLockMode::from_static(word(terms.mode))),
        retain_until: terms.map(|terms| faces::time(terms.retain_until)),
        legal_hold: held.then(|| ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON)),
    })
}

/// The bucket, if Object Lock is enabled there.
async fn locked(gateway: &Gateway, actor: &Actor, bucket: &str) -> Result<Producer, Failure> {
    let producer = gateway.registry.producer_stat(actor, &ProducerName::parse(bucket)?).await?;
    if producer.object_lock { Ok(producer) } else { Err(Refusal::LockMissing(producer.name).into()) }
}

pub(super) async fn configuration(
    gateway: &Gateway,
    req: S3Request<GetObjectLockConfigurationInput>,
) -> Answer<GetObjectLockConfigurationOutput> {
    let actor = gateway.actor(&req)?;
    let producer = gateway.registry.producer_stat(&actor, &ProducerName::parse(&req.input.bucket)?).await?;
    if !producer.object_lock {
        let message = "Object Lock configuration does not exist for this bucket.";
        return Err(Failure::request(404, "ObjectLockConfigurationNotFoundError", message));
    }
    let default_retention = match &producer.settings.retention_class {
        None => None,
        Some(class) => default(gateway.registry.class_stat(class).await?.class),
    };
    let rule = default_retention.map(|default| ObjectLockRule { default_retention: Some(default) });
    let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
    let configuration = ObjectLockConfiguration { object_lock_enabled: Some(enabled), rule };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) }))
}

/// The default retention of a class; none of one that S3 has no words for.
fn default(class: artifactstore_registry::model::retention::RetentionClass) -> Option<DefaultRetention> {
    if class.mode == Mode::None {
        return None;
    }
    let (days, years) = match class.period {
        Period::Days(days) => (i32::try_from(days).ok(), None),
        Period::Years(years) => (None, i32::try_from(years).ok()),
        Period::Forever => return None,
    };
    Some(DefaultRetention { days, mode: Some(ObjectLockRetentionMode::from_static(word(class.mode))), years })
}

pub(super) async fn set_configuration(
    gateway: &Gateway,
    req: S3Request<PutObjectLockConfigurationInput>,
) -> Answer<PutObjectLockConfigurationOutput> {
    let actor = gateway.actor(&req)?;
    let producer = ProducerName::parse(&req.input.bucket)?;
    let wanted = req.input.object_lock_configuration.ok_or_else(|| malformed("The body has no configuration."))?;
    if wanted.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed("ObjectLockEnabled must be Enabled; it cannot be disabled."));
    }
    let default = match wanted.rule {
        None => None,
        Some(rule) => Some(asked(&rule.default_retention.ok_or_else(|| malformed("A rule has a DefaultRetention."))?)?),
    };
    gateway.registry.lock_configure(&actor, &producer, default).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn asked(default: &DefaultRetention) -> Result<(Mode, Period), Failure> {
    let mode = default.mode.as_ref().and_then(|word| mode(word.as_str()));
    let mode = mode.ok_or_else(|| malformed("Mode must be GOVERNANCE or COMPLIANCE."))?;
    let positive = |number: i32| {
        let message = "The default retention period must be a positive number of at most 36500 days or 100 years.";
        let number = u32::try_from(number).ok().filter(|number| *number > 0);
        number.ok_or_else(|| Failure::request(400, "InvalidRetentionPeriod", message))
    };
    let period = match (default.days, default.years) {
        (Some(days), None) => Period::Days(positive(days)?),
        (None, Some(years)) => Period::Years(positive(years)?),
        _ => return Err(malformed("A DefaultRetention has either Days or Years.")),
    };
    Ok((mode, period))
}

pub(super) async fn retention(
    gateway: &Gateway,
    req: S3Request<GetObjectRetentionInput>,
) -> Answer<GetObjectRetentionOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    let found = gateway.registry.file_stat(&actor, &name, version(input.version_id.as_deref())?).await?;
    let Some(terms) = gateway.registry.file_retention(&found.file).await? else {
        locked(gateway, &actor, &input.bucket).await?;
        let message = "The specified object does not have a ObjectLock configuration.";
        return Err(Failure::request(404, "NoSuchObjectLockConfiguration", message));
    };
    let retention = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(word(terms.mode))),
        retain_until_date: Some(faces::time(terms.retain_until)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}

pub(super) async fn set_retention(
    gateway: &Gateway,
    req: S3Request<PutObjectRetentionInput>,
) -> Answer<PutObjectRetentionOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    locked(gateway, &actor, &input.bucket).await?;
    let (word, until) = input.retention.as_ref().map_or((None, None), |retention| {
        (retention.mode.as_ref().map(ObjectLockRetentionMode::as_str), retention.retain_until_date.as_ref())
    });
    let terms = match (word, until) {
        (None, None) => None,
        (Some(word), Some(until)) => {
            let mode = mode(word).ok_or_else(|| malformed("Mode must be GOVERNANCE or COMPLIANCE."))?;
            Some(LockTerms { mode, retain_until: moment(until) })
        }
        _ => return Err(malformed("A Retention has both Mode and RetainUntilDate.")),
    };
    let order = RetentionOrder {
        subject: SubjectChoice::File(name, version(input.version_id.as_deref())?),
        change: RetentionChange::Lock(terms),
        bypass: input.bypass_governance_retention == Some(true),
        reason: String::new(),
    };
    gateway.registry.retention_set(&actor, order).await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

pub(super) async fn legal_hold(
    gateway: &Gateway,
    req: S3Request<GetObjectLegalHoldInput>,
) -> Answer<GetObjectLegalHoldOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    locked(gateway, &actor, &input.bucket).await?;
    let found = gateway.registry.file_stat(&actor, &name, version(input.version_id.as_deref())?).await?;
    let held = found.file.keeping.hold(&HoldName::legal()).is_some();
    let status = if held { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF };
    let legal_hold = ObjectLockLegalHold { status: Some(ObjectLockLegalHoldStatus::from_static(status)) };
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(legal_hold) }))
}

pub(super) async fn set_legal_hold(
    gateway: &Gateway,
    req: S3Request<PutObjectLegalHoldInput>,
) -> Answer<PutObjectLegalHoldOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    locked(gateway, &actor, &input.bucket).await?;
    let subject = SubjectChoice::File(name, version(input.version_id.as_deref())?);
    let status = input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref());
    match status.map(ObjectLockLegalHoldStatus::as_str) {
        Some(ObjectLockLegalHoldStatus::ON) => {
            let reason = "S3 legal hold".to_owned();
            gateway.registry.hold_place(&actor, subject, &HoldName::legal(), reason).await?;
        }
        Some(ObjectLockLegalHoldStatus::OFF) => {
            gateway.registry.hold_release(&actor, subject, &HoldName::legal(), String::new()).await?;
        }
        _ => return Err(malformed("Status must be ON or OFF.")),
    }
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(key, value)| (http::HeaderName::from_static(key), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_lock_has_a_mode_and_a_date() {
        let date = "2030-01-02T03:04:05Z";
        let both = headers(&[(MODE, "COMPLIANCE"), (RETAIN_UNTIL, date), (LEGAL_HOLD, "ON"), (CLASS, "permanent")]);
        let retention = of_request(&both).unwrap();
        let terms = retention.lock.unwrap();
        assert_eq!((terms.mode, terms.retain_until), (Mode::Compliance, Timestamp(1_893_553_445_000_000)));
        assert!(retention.legal_hold);
        assert_eq!(retention.classes[0].as_str(), "permanent");
        assert!(of_request(&HeaderMap::new()).unwrap().is_empty());
        for bad in [
            &[(MODE, "COMPLIANCE")][..],
            &[(RETAIN_UNTIL, date)],
            &[(MODE, "governance"), (RETAIN_UNTIL, date)],
            &[(MODE, "GOVERNANCE"), (RETAIN_UNTIL, "tomorrow")],
            &[(LEGAL_HOLD, "on")],
            &[(CLASS, "Not A Class")],
        ] {
            assert_eq!(of_request(&headers(bad)).unwrap_err().face().code, "InvalidArgument", "{bad:?}");
        }
    }

    #[test]
    fn a_locked_body_is_declared() {
        let locked = Retention { legal_hold: true, ..Retention::default() };
        let face = check_declared(&locked, &headers(&[("x-amz-checksum-", "x")])).unwrap_err().face();
        assert_eq!((face.status.as_u16(), face.code), (400, "InvalidRequest"));
        for name in ["content-md5", "x-amz-checksum-crc32", "x-amz-trailer"] {
            assert!(check_declared(&locked, &headers(&[(name, "x")])).is_ok(), "{name}");
        }
        assert!(check_declared(&Retention::default(), &HeaderMap::new()).is_ok(), "a default needs no header");
    }

    #[test]
    fn a_default_has_one_positive_period() {
        let default = |days, years| DefaultRetention {
            days,
            mode: Some(ObjectLockRetentionMode::from_static(ObjectLockRetentionMode::GOVERNANCE)),
            years,
        };
        assert_eq!(asked(&default(Some(3), None)).unwrap(), (Mode::Governance, Period::Days(3)));
        assert_eq!(asked(&default(None, Some(2))).unwrap(), (Mode::Governance, Period::Years(2)));
        for (days, years, code) in [
            (Some(1), Some(1), "MalformedXML"),
            (None, None, "MalformedXML"),
            (Some(0), None, "InvalidRetentionPeriod"),
            (None, Some(-1), "InvalidRetentionPeriod"),
        ] {
            assert_eq!(asked(&default(days, years)).unwrap_err().face().code, code);
        }
    }
}
