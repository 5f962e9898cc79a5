//! Access keys: made, shown, rotated, revoked. A secret is told once, to whoever made or rotated the key.

use std::collections::BTreeSet;
use std::sync::Arc;

use artifactstore_registry::model::access::{AccessKey, Grant, Permission};
use artifactstore_registry::model::name::{AccessKeyId, TenantName};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::extract::{Caller, InBody, InPath, InQuery, cursor, cursor_parts, page_limit};
use super::problem::{Problem, ProblemBody};
use crate::config::Secret;
use crate::config::credentials::{fresh_pair, fresh_secret};

/// What a key may do in one place.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Grant)]
pub(crate) struct GrantShape {
    /// A producer's name, or `*` for every producer of the tenant.
    pub(crate) producer: String,
    /// What the keys of its files begin with; empty for all of them.
    #[serde(default)]
    pub(crate) prefix: String,
    /// `read`, `write`, `delete`, `finalize`, `retain`, `bypass-governance`, `administer`.
    pub(crate) permissions: Vec<String>,
}

impl GrantShape {
    /// The grant, if its permissions are some.
    pub(crate) fn parsed(self) -> Result<Grant, String> {
        let known = |name: &String| {
            let names = Permission::ALL.map(Permission::name).join(", ");
            Permission::parse(name).ok_or_else(|| format!("There is no permission {name:?}: there are {names}."))
        };
        let permissions: BTreeSet<Permission> = self.permissions.iter().map(known).collect::<Result<_, _>>()?;
        Ok(Grant { prefix: self.prefix, producer: self.producer, permissions })
    }
}

impl From<&Grant> for GrantShape {
    fn from(grant: &Grant) -> Self {
        Self {
            producer: grant.producer.clone(),
            prefix: grant.prefix.clone(),
            permissions: grant.permissions.iter().map(|permission| permission.name().to_owned()).collect(),
        }
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = AccessKey)]
pub(crate) struct KeyShape {
    /// Its identifier.
    pub(crate) access_key: String,
    /// Whose it is.
    pub(crate) tenant: String,
    /// What it may do.
    pub(crate) grants: Vec<GrantShape>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    /// The last event that changed it.
    pub(crate) sequence: u64,
    /// Its secret; told once, when it was made or rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_key: Option<String>,
}

impl From<&AccessKey> for KeyShape {
    fn from(key: &AccessKey) -> Self {
        Self {
            access_key: key.id.to_string(),
            tenant: key.tenant.to_string(),
            grants: key.grants.iter().map(Into::into).collect(),
            created_at: key.created_at.to_string(),
            sequence: key.changed_sequence,
            secret_key: None,
        }
    }
}

impl KeyShape {
    /// The key with its secret, for whoever made it.
    pub(crate) fn told(key: &AccessKey, secret: &Secret) -> Self {
        Self { secret_key: Some(secret.expose().to_owned()), ..Self::from(key) }
    }
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRequest {
    /// Whose it is to be; `root` when not said.
    #[serde(default)]
    tenant: Option<String>,
    /// What it may do.
    grants: Vec<GrantShape>,
}

/// Which page of the keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KeyQuery {
    /// How many at most; 100 when not said, 1000 at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyPage {
    /// The keys, by identifier.
    keys: Vec<KeyShape>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

fn unsealable() -> Problem {
    let detail = "Set ARTIFACTSTORE_SECRETS_KEY: without it no secret can be kept.";
    Problem::new(StatusCode::CONFLICT, "secrets-key-missing", detail)
}

fn no_randomness() -> Problem {
    let detail = "The operating system gave no random bytes.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", detail)
}

/// The keys of all tenants, by identifier.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", operation_id = "key_list", params(KeyQuery),
    responses(
        (status = 200, description = "A page of keys.", body = KeyPage),
        (status = 400, description = "A parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    InQuery(query): InQuery<KeyQuery>,
) -> Result<Json<KeyPage>, Problem> {
    let limit = page_limit(query.limit)?;
    let after = match query.cursor {
        Some(text) => {
            let [id] = cursor_parts(&text)?;
            Some(AccessKeyId::parse(&id)?)
        }
        None => None,
    };
    let found = admin.registry.key_list(after.as_ref(), limit).await?;
    let next_cursor = found.last().filter(|_| found.len() == limit).map(|last| cursor(&[last.id.as_str()]));
    Ok(Json(KeyPage { keys: found.iter().map(Into::into).collect(), next_cursor }))
}

/// Makes a key; the answer is the only one that tells its secret.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", operation_id = "key_create", request_body = KeyRequest,
    responses(
        (status = 201, description = "The key, with its secret.", body = KeyShape),
        (status = 400, description = "No JSON, no tenant's name, or grants that cannot be so.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "This gateway has no key to seal secrets with.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn create(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InBody(wanted): InBody<KeyRequest>,
) -> Result<(StatusCode, Json<KeyShape>), Problem> {
    let tenant = wanted.tenant.as_deref().map_or(Ok(admin.tenant.clone()), TenantName::parse)?;
    let grants: Result<Vec<Grant>, String> = wanted.grants.into_iter().map(GrantShape::parsed).collect();
    let grants = grants.map_err(Problem::argument)?;
    let sealer = admin.sealer.as_ref().ok_or_else(unsealable)?;
    let (id, secret) = fresh_pair().map_err(|_| no_randomness())?;
    let id = AccessKeyId::parse(&id)?;
    let sealed = sealer.seal(&id, &secret).map_err(|_| no_randomness())?;
    let key = admin.registry.key_create(&actor, &id, &tenant, grants, sealed).await?;
    Ok((StatusCode::CREATED, Json(KeyShape::told(&key, &secret))))
}

/// A key, without its secret.
#[utoipa::path(get, path = "/v1/keys/{access_key}", tag = "keys", operation_id = "key_show",
    params(("access_key" = String, Path, description = "The key's identifier.")),
    responses(
        (status = 200, description = "The key.", body = KeyShape),
        (status = 400, description = "That is no identifier of a key.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key, or it was revoked.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    InPath(id): InPath<String>,
) -> Result<Json<KeyShape>, Problem> {
    Ok(Json((&admin.registry.key_stat(&AccessKeyId::parse(&id)?).await?).into()))
}

/// Gives a key another secret; the one before is not taken any more, within a second on every gateway.
#[utoipa::path(post, path = "/v1/keys/{access_key}/rotate", tag = "keys", operation_id = "key_rotate",
    params(("access_key" = String, Path, description = "The key's identifier.")),
    responses(
        (status = 200, description = "The key, with its new secret.", body = KeyShape),
        (status = 400, description = "That is no identifier of a key.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key, or it was revoked.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "This gateway has no key to seal secrets with.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn rotate(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
) -> Result<Json<KeyShape>, Problem> {
    let id = AccessKeyId::parse(&id)?;
    let sealer = admin.sealer.as_ref().ok_or_else(unsealable)?;
    let secret = fresh_secret().map_err(|_| no_randomness())?;
    let sealed = sealer.seal(&id, &secret).map_err(|_| no_randomness())?;
    let key = admin.registry.key_rotate(&actor, &id, sealed).await?;
    Ok(Json(KeyShape::told(&key, &secret)))
}

/// Revokes a key: within a second no gateway takes anything that is signed with it.
#[utoipa::path(delete, path = "/v1/keys/{access_key}", tag = "keys", operation_id = "key_revoke",
    params(("access_key" = String, Path, description = "The key's identifier.")),
    responses(
        (status = 204, description = "It is revoked."),
        (status = 400, description = "That is no identifier of a key.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key, or it was revoked.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn revoke(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    admin.registry.key_revoke(&actor, &AccessKeyId::parse(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
