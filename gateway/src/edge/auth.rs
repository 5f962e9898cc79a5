//! Whose key a request is signed with, and on whose behalf it is.
//!
//! s3s checks signatures, in constant time; this file knows the keys. Invariant: a secret is never shown by `Debug` and
//! never logged.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::document::Document;
use super::form_head::{FORM_UNSIGNED, FormHead};
use super::forwarded::Client;
use super::inflow::Gauge;
use super::request_id::RequestId;
use super::{permission, subresource};
use crate::policy::{Asking, Facts, Policies, Principal, Verdict};
use crate::s3::{Anonymous, refuse};
use artifactstore_registry::model::access::{Grants, Permission};
use artifactstore_registry::model::name::TenantName;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3Result, s3_error};

/// A secret and whose it is.
#[derive(Clone)]
pub struct AccessKey {
    /// The secret that requests are signed with; wiped when it is dropped.
    pub secret: SecretKey,
    /// The tenant on whose behalf requests are that are signed with it.
    pub tenant: TenantName,
    /// What may be done with it; `None` for everything.
    pub grants: Option<Arc<Grants>>,
}

impl AccessKey {
    /// A key of a tenant with which everything may be done.
    #[must_use]
    pub fn new(secret: &str, tenant: TenantName) -> Self {
        Self { secret: SecretKey::from(secret), tenant, grants: None }
    }

    /// A key of a tenant with which this may be done.
    #[must_use]
    pub fn limited(secret: &str, tenant: TenantName, grants: Arc<Grants>) -> Self {
        Self { secret: SecretKey::from(secret), tenant, grants: Some(grants) }
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Where keys are found. Asked once or twice a request, so answers come from memory or a cache.
#[async_trait::async_trait]
pub trait KeyRing: fmt::Debug + Send + Sync + 'static {
    /// The key with this id; `None` when there is none. An error when that cannot be found out.
    async fn find(&self, access_key_id: &str) -> S3Result<Option<AccessKey>>;
}

/// Keys that are known at the start and do not change.
#[derive(Debug, Clone, Default)]
pub struct StaticKeys {
    keys: HashMap<String, AccessKey>,
}

impl StaticKeys {
    /// These keys, by their ids; the last one wins when an id comes twice.
    pub fn new(keys: impl IntoIterator<Item = (String, AccessKey)>) -> Self {
        Self { keys: keys.into_iter().collect() }
    }
}

#[async_trait::async_trait]
impl KeyRing for StaticKeys {
    async fn find(&self, access_key_id: &str) -> S3Result<Option<AccessKey>> {
        Ok(self.keys.get(access_key_id).cloned())
    }
}

/// On whose behalf a request is; put in its extensions once the signature was found right.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantName,
    pub(crate) access_key_id: String,
    /// What it may do; `None` for everything.
    pub(crate) grants: Option<Arc<Grants>>,
    /// Who it is where no policy lets it in: nothing for whoever came with its own rights, or without a key.
    guest: Option<Arc<Caller>>,
}

impl Caller {
    /// Somebody with rights of its own.
    pub(crate) const fn new(tenant: TenantName, access_key_id: String, grants: Option<Arc<Grants>>) -> Self {
        Self { tenant, access_key_id, grants, guest: None }
    }

    /// Whom a bucket's policy lets do this, and nothing else, in the owner's stead.
    fn let_in(self, owner: TenantName, grants: Grants) -> Self {
        let access_key_id = self.access_key_id.clone();
        Self { tenant: owner, access_key_id, grants: Some(Arc::new(grants)), guest: Some(Arc::new(self)) }
    }

    /// Who signed, with the rights of its key.
    pub(crate) fn itself(&self) -> &Self {
        self.guest.as_deref().unwrap_or(self)
    }

    /// Whether it may finalize a package by writing its producer's marker, by rights of its own: no policy gives that.
    pub(crate) fn may_finalize(&self, producer: &str, marker: &str) -> bool {
        let itself = self.itself();
        let has = |permission| itself.may(permission, producer, marker);
        itself.tenant == self.tenant && (has(Permission::Write) || has(Permission::Finalize))
    }

    /// Whether it may do this to a key, or to every key that begins so.
    pub(crate) fn may(&self, permission: Permission, producer: &str, key: &str) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.allow(permission, producer, key))
    }
}

/// The door: s3s asks it for secrets, and then whether whoever signed may come in.
#[derive(Debug, Clone)]
pub(super) struct Door {
    keys: Arc<dyn KeyRing>,
    /// What may be asked for without a key; nothing where there is no registry to ask.
    anonymous: Option<Anonymous>,
    /// What the policies of buckets say; nothing where there is no registry to ask.
    policies: Option<Arc<Policies>>,
}

impl Door {
    pub(super) fn new(keys: Arc<dyn KeyRing>, anonymous: Option<Anonymous>, policies: Option<Arc<Policies>>) -> Self {
        Self { keys, anonymous, policies }
    }

    /// What the policy of the bucket says to a request, and whose the bucket is; `None` when it has none.
    async fn judge(
        &self,
        cx: &mut S3AccessContext<'_>,
        who: Option<&Caller>,
    ) -> S3Result<Option<(TenantName, Verdict)>> {
        let Some(policies) = &self.policies else { return Ok(None) };
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => return Ok(None),
            S3Path::Bucket { bucket } => (bucket.to_string(), None),
            S3Path::Object { bucket, key } => (bucket.to_string(), Some(key.to_string())),
        };
        let client = cx.extensions_mut().get::<Client>().cloned();
        let request_id = cx.extensions_mut().get::<RequestId>().cloned();
        let operation = cx.s3_op().name();
        let principal = Principal(who.map(|caller| (&caller.tenant, caller.access_key_id.as_str())));
        let query = cx.uri().query().unwrap_or_default();
        let version = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "versionId");
        let said = match operation {
            // The bucket is not there yet, or is not touched.
            "CreateBucket" => Ok(None),
            // Which keys they are about is known to their handlers, who ask again.
            "DeleteObjects" => policies.forejudge(principal, &bucket, "DeleteObject").await,
            "PostObject" => policies.forejudge(principal, &bucket, "PutObject").await,
            _ => {
                let facts =
                    Facts { headers: cx.headers(), query, client: client.as_ref(), tags: None, of_upload: false };
                let version = version.as_ref().map(|(_, id)| id.as_ref());
                let asking = Asking { operation, bucket: &bucket, key: key.as_deref(), version, facts };
                policies.judge(principal, &asking).await
            }
        };
        said.map_err(|failure| refuse(&failure, request_id.as_ref().map_or("", RequestId::as_str)))
    }

    /// Whom a request without a signature is taken for.
    async fn anonymous(&self, cx: &mut S3AccessContext<'_>) -> S3Result<Caller> {
        let allowed_by = match self.judge(cx, None).await? {
            Some((_, Verdict::Denied)) => return Err(denied()),
            Some((owner, Verdict::Allowed)) => Some(owner),
            Some((_, Verdict::Silent)) | None => None,
        };
        let request_id = cx.extensions_mut().get::<RequestId>().cloned();
        let operation = cx.s3_op().name();
        if let Some(anonymous) = &self.anonymous
            && let Some(caller) =
                anonymous.caller(operation, cx.s3_path(), cx.uri(), allowed_by, request_id.as_ref()).await?
        {
            return subresource::misread(operation, cx.uri().query()).map_or(Ok(caller), |name| Err(misread(name)));
        }
        Err(s3_error!(AccessDenied, "Anonymous requests are not accepted: sign the request."))
    }
}

/// Has the document of an operation compared with what the request declares of it.
fn compare(cx: &mut S3AccessContext<'_>) -> S3Result<()> {
    let request_id = cx.extensions_mut().get::<RequestId>().cloned();
    let declared = Document::declared(cx.s3_op().name(), cx.method(), cx.headers())
        .map_err(|failure| refuse(&failure, request_id.as_ref().map_or("", RequestId::as_str)))?;
    if let (Some(document), Some(gauge)) = (declared, cx.extensions_mut().get::<Arc<Gauge>>()) {
        gauge.compare(document);
    }
    Ok(())
}

fn denied() -> S3Error {
    s3_error!(AccessDenied, "The policy of the bucket denies this.")
}

/// Those that can always have and change a policy: its owner must not lock itself out.
const OF_POLICIES: [&str; 3] = ["DeleteBucketPolicy", "GetBucketPolicy", "PutBucketPolicy"];

fn misread(name: &str) -> S3Error {
    s3_error!(NotImplemented, "The subresource `{name}` is not implemented for this request.")
}

fn unknown_key() -> S3Error {
    s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
}

#[async_trait::async_trait]
impl S3Auth for Door {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.keys.find(access_key).await?.map(|key| key.secret).ok_or_else(unknown_key)
    }
}

#[async_trait::async_trait]
impl S3Access for Door {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        compare(cx)?;
        let form = cx.extensions_mut().get::<FormHead>().cloned();
        if let Some(form) = &form {
            form.set_read();
        }
        let Some(credentials) = cx.credentials() else {
            if let Some(form) = form
                && form.fields(cx.headers()).await.is_some_and(|fields| fields.policy.is_some())
            {
                return Err(s3_error!(InvalidArgument, "{}", FORM_UNSIGNED));
            }
            let caller = self.anonymous(cx).await?;
            cx.extensions_mut().insert(caller);
            return Ok(());
        };
        let in_query =
            cx.uri().query().is_some_and(|query| query.to_ascii_lowercase().contains("x-amz-security-token="));
        if in_query || cx.headers().contains_key("x-amz-security-token") {
            // No token is ever given out here, so that none can be right; a client that sends one means other keys.
            return Err(s3_error!(InvalidToken, "The provided token is malformed or otherwise not valid."));
        }
        if let Some(name) = subresource::misread(cx.s3_op().name(), cx.uri().query()) {
            return Err(misread(name));
        }
        let access_key_id = credentials.access_key.clone();
        let AccessKey { tenant, grants, .. } = self.keys.find(&access_key_id).await?.ok_or_else(unknown_key)?;
        let caller = Caller::new(tenant, access_key_id, grants);
        let judged = self.judge(cx, Some(&caller)).await?;
        let operation = cx.s3_op().name();
        let own = judged.as_ref().is_none_or(|(owner, _)| *owner == caller.tenant);
        if matches!(judged, Some((_, Verdict::Denied))) && !(own && OF_POLICIES.contains(&operation)) {
            return Err(denied());
        }
        let permitted = caller
            .grants
            .as_ref()
            .is_none_or(|grants| permission::permitted(grants, operation, cx.s3_path(), cx.uri(), cx.headers()));
        if let Some((owner, Verdict::Allowed)) = judged
            && !(own && permitted)
            && let Some(grants) = permission::by_policy(operation, cx.s3_path(), cx.headers())
        {
            cx.extensions_mut().insert(caller.let_in(owner, grants));
            return Ok(());
        }
        if !permitted {
            return Err(s3_error!(AccessDenied, "The access key is not allowed to do this here."));
        }
        cx.extensions_mut().insert(caller);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> StaticKeys {
        let key = AccessKey::new("hush-hush", TenantName::parse("acme").unwrap());
        StaticKeys::new([("AKIA".to_owned(), key)])
    }

    #[tokio::test]
    async fn an_unknown_key_is_said_to_be_unknown() {
        let door = Door::new(Arc::new(keys()), None, None);
        let error = door.get_secret_key("nobody").await.unwrap_err();
        assert_eq!(error.code().as_str(), "InvalidAccessKeyId");
        assert_eq!(error.status_code(), Some(http::StatusCode::FORBIDDEN));
        assert_eq!(door.get_secret_key("AKIA").await.unwrap().expose(), "hush-hush");
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert!(!format!("{:?} {:?}", keys(), Door::new(Arc::new(keys()), None, None)).contains("hush"));
    }
}
