//! ACLs: there is one, and it says that the owner may do everything and nobody else anything. Setting it to that is
//! accepted, because it is true; anything else is refused.

use artifactstore_registry::model::name::{FileName, TenantName};
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant, Grantee,
    Owner, Permission, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Request, S3Response};

use super::absent::bucket as find_bucket;
use super::{Answer, Gateway, attributes, faces, version};
use crate::error::Failure;

/// The owner may do everything, and nobody else anything.
fn full_control(owner: &Owner) -> Vec<Grant> {
    let grantee = Grantee {
        display_name: owner.display_name.clone(),
        email_address: None,
        id: owner.id.clone(),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    vec![Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }]
}

/// Refuses a policy that is not the one that holds.
fn check(policy: Option<&AccessControlPolicy>, owner: &Owner) -> Result<(), Failure> {
    let Some(policy) = policy else { return Ok(()) };
    let own = |grant: &Grant| {
        let grantee = grant.grantee.as_ref().and_then(|grantee| grantee.id.as_ref());
        grantee == owner.id.as_ref()
            && grant.permission.as_ref().is_some_and(|permission| permission.as_str() == Permission::FULL_CONTROL)
    };
    let grants = policy.grants.as_deref().unwrap_or_default();
    let grantees = || grants.iter().filter_map(|grant| grant.grantee.as_ref());
    if grantees().any(|grantee| grantee.email_address.is_some()) {
        let message = "The e-mail address you provided does not match any account on record.";
        return Err(Failure::request(400, "UnresolvableGrantByEmailAddress", message));
    }
    if grantees().filter_map(|grantee| grantee.id.as_deref()).any(|id| TenantName::parse(id).is_err()) {
        return Err(Failure::request(400, "InvalidArgument", "Invalid id: an owner's id is the name of a tenant."));
    }
    let owned = policy.owner.as_ref().is_none_or(|said| said.id == owner.id);
    if owned && grants.len() == 1 && grants.iter().all(own) {
        return Ok(());
    }
    let message = "The bucket does not allow ACLs: its owner has full control, and nobody else has any.";
    Err(Failure::request(400, "AccessControlListNotSupported", message))
}

pub(super) async fn bucket(gateway: &Gateway, req: S3Request<GetBucketAclInput>) -> Answer<GetBucketAclOutput> {
    let owner = find_bucket(gateway, &req, &req.input.bucket).await?;
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(full_control(&owner)), owner: Some(owner) }))
}

pub(super) async fn set_bucket(gateway: &Gateway, req: S3Request<PutBucketAclInput>) -> Answer<PutBucketAclOutput> {
    let owner = find_bucket(gateway, &req, &req.input.bucket).await?;
    attributes::refuse_grants(&req.headers)?;
    check(req.input.access_control_policy.as_ref(), &owner)?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// Finds the file first: a missing bucket or key is said before anything of it is.
async fn find_file<T>(
    gateway: &Gateway,
    req: &S3Request<T>,
    (bucket, key): (&str, &str),
    version_id: Option<&str>,
) -> Result<Owner, Failure> {
    let actor = gateway.actor(req)?;
    gateway.registry.file_stat(&actor, &FileName::parse(bucket, key)?, version(version_id)?).await?;
    Ok(faces::owner(&actor.tenant))
}

pub(super) async fn object(gateway: &Gateway, req: S3Request<GetObjectAclInput>) -> Answer<GetObjectAclOutput> {
    let input = &req.input;
    let owner = find_file(gateway, &req, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    let grants = Some(full_control(&owner));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner: Some(owner), request_charged: None }))
}

pub(super) async fn set_object(gateway: &Gateway, req: S3Request<PutObjectAclInput>) -> Answer<PutObjectAclOutput> {
    let input = &req.input;
    let owner = find_file(gateway, &req, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    attributes::refuse_grants(&req.headers)?;
    check(input.access_control_policy.as_ref(), &owner)?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_acl_that_holds_can_be_set() {
        let owner = |name: &str| Owner { display_name: None, id: Some(name.to_owned()) };
        let root = owner("root");
        let policy =
            |grants: Vec<Grant>, of: &str| AccessControlPolicy { grants: Some(grants), owner: Some(owner(of)) };
        assert!(check(None, &root).is_ok());
        assert!(check(Some(&policy(full_control(&root), "root")), &root).is_ok());
        let mut by_mail = full_control(&root);
        by_mail[0].grantee.as_mut().unwrap().email_address = Some("somebody@example.com".to_owned());
        for (grants, code) in
            [(by_mail, "UnresolvableGrantByEmailAddress"), (full_control(&owner("_no tenant")), "InvalidArgument")]
        {
            assert_eq!(check(Some(&policy(grants, "root")), &root).unwrap_err().face().code, code);
        }
        let mut both = full_control(&root);
        both.extend(full_control(&owner("other")));
        for refused in [
            policy(full_control(&owner("other")), "root"),
            policy(both, "root"),
            policy(Vec::new(), "root"),
            policy(full_control(&root), "other"),
        ] {
            let face = check(Some(&refused), &root).unwrap_err().face();
            assert_eq!((face.status.as_u16(), face.code), (400, "AccessControlListNotSupported"));
        }
    }
}
