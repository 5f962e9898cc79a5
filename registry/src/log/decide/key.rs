//! Deciding about access keys. Who may ask is decided above: no key makes keys.

use super::Decision;
use crate::error::Refusal;
use crate::model::access::{Grant, check_grants};
use crate::model::event::{Event, KeyCreated, KeyRevoked, KeyRotated};
use crate::model::name::{AccessKeyId, TenantName};
use crate::model::state::State;

/// A key is made under a name that no key has now.
pub(super) fn create(
    state: &State,
    id: &AccessKeyId,
    tenant: &TenantName,
    grants: &[Grant],
    sealed: &[u8],
) -> Result<Decision, Refusal> {
    if state.access_keys.get(id).is_some() {
        return Err(Refusal::KeyTaken(id.clone()));
    }
    check_grants(grants)?;
    let created =
        KeyCreated { id: id.clone(), grants: grants.to_vec(), sealed: sealed.to_vec(), tenant: tenant.clone() };
    Ok(Event::KeyCreated(Box::new(created)).into())
}

/// A key that is there gets another secret.
pub(super) fn rotate(state: &State, id: &AccessKeyId, sealed: &[u8]) -> Result<Decision, Refusal> {
    there(state, id)?;
    Ok(Event::KeyRotated(Box::new(KeyRotated { id: id.clone(), sealed: sealed.to_vec() })).into())
}

/// A key that is there is revoked.
pub(super) fn revoke(state: &State, id: &AccessKeyId) -> Result<Decision, Refusal> {
    there(state, id)?;
    Ok(Event::KeyRevoked(Box::new(KeyRevoked { id: id.clone() })).into())
}

fn there(state: &State, id: &AccessKeyId) -> Result<(), Refusal> {
    state.access_keys.get(id).map(|_| ()).ok_or_else(|| Refusal::KeyMissing(id.clone()))
}
