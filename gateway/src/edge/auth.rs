//! Whose key a request is signed with, and on whose behalf it is.
//!
//! s3s checks signatures, in constant time; this file knows the keys. Invariant: a secret is never shown by `Debug` and
//! never logged.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::request_id::RequestId;
use super::{permission, subresource};
use crate::s3::Anonymous;
use artifactstore_registry::model::access::{Grants, Permission};
use artifactstore_registry::model::name::TenantName;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
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

/// Who signed a request; put in its extensions once the signature was found right.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantName,
    pub(crate) access_key_id: String,
    /// What it may do; `None` for everything.
    pub(crate) grants: Option<Arc<Grants>>,
}

impl Caller {
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
}

impl Door {
    pub(super) fn new(keys: Arc<dyn KeyRing>, anonymous: Option<Anonymous>) -> Self {
        Self { keys, anonymous }
    }

    /// Whom a request without a signature is taken for.
    async fn anonymous(&self, cx: &mut S3AccessContext<'_>) -> S3Result<Caller> {
        let request_id = cx.extensions_mut().get::<RequestId>().cloned();
        let operation = cx.s3_op().name();
        if let Some(anonymous) = &self.anonymous
            && let Some(caller) = anonymous.caller(operation, cx.s3_path(), cx.uri(), request_id.as_ref()).await?
        {
            return subresource::misread(operation, cx.uri().query()).map_or(Ok(caller), |name| Err(misread(name)));
        }
        Err(s3_error!(AccessDenied, "Anonymous requests are not accepted: sign the request."))
    }
}

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
        let Some(credentials) = cx.credentials() else {
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
        let permitted = grants.as_ref().is_none_or(|grants| {
            permission::permitted(grants, cx.s3_op().name(), cx.s3_path(), cx.uri(), cx.headers())
        });
        if !permitted {
            return Err(s3_error!(AccessDenied, "The access key is not allowed to do this here."));
        }
        cx.extensions_mut().insert(Caller { tenant, access_key_id, grants });
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
        let door = Door::new(Arc::new(keys()), None);
        let error = door.get_secret_key("nobody").await.unwrap_err();
        assert_eq!(error.code().as_str(), "InvalidAccessKeyId");
        assert_eq!(error.status_code(), Some(http::StatusCode::FORBIDDEN));
        assert_eq!(door.get_secret_key("AKIA").await.unwrap().expose(), "hush-hush");
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert!(!format!("{:?} {:?}", keys(), Door::new(Arc::new(keys()), None)).contains("hush"));
    }
}
