//! Access keys: made, rotated and revoked as events, and rebuilt by a replay like everything else.

use artifactstore_registry::model::access::{Grant, Permission};
use artifactstore_registry::model::name::{AccessKeyId, TenantName};
use artifactstore_registry::{Error, Refusal};

use crate::harness::Harness;

#[tokio::test]
async fn a_key_is_made_rotated_and_revoked_once_each_by_an_event() {
    let harness = Harness::start().await;
    let (registry, actor) = (&harness.registry, &harness.actor);
    let id = |text: &str| AccessKeyId::parse(text).unwrap();
    let tenant = TenantName::parse("lab").unwrap();
    let grants =
        vec![Grant { prefix: "run-".into(), producer: "board".into(), permissions: [Permission::Write].into() }];
    let made = registry.key_create(actor, &id("AKONE"), &tenant, grants.clone(), vec![1, 2]).await.unwrap();
    assert_eq!((&made.tenant, &made.grants, &made.sealed), (&tenant, &grants, &vec![1, 2]));
    registry.key_create(actor, &id("AKTWO"), &tenant, vec![Grant::everything()], vec![3]).await.unwrap();
    let taken = registry.key_create(actor, &id("AKONE"), &tenant, grants, vec![9]).await.unwrap_err();
    assert!(matches!(taken, Error::Refused(Refusal::KeyTaken(_))), "{taken}");
    let nothing = registry.key_create(actor, &id("AKNONE"), &tenant, Vec::new(), vec![9]).await.unwrap_err();
    assert!(matches!(nothing, Error::Refused(Refusal::SettingInvalid { .. })), "{nothing}");

    let rotated = registry.key_rotate(actor, &id("AKONE"), vec![4, 5]).await.unwrap();
    assert_eq!((rotated.sealed.as_slice(), rotated.created_sequence), (&[4, 5][..], made.created_sequence));
    assert!(rotated.changed_sequence > made.changed_sequence);
    registry.key_revoke(actor, &id("AKTWO")).await.unwrap();
    for missing in [
        registry.key_revoke(actor, &id("AKTWO")).await.unwrap_err(),
        registry.key_rotate(actor, &id("AKTWO"), vec![6]).await.unwrap_err(),
        registry.key_stat(&id("AKTWO")).await.unwrap_err(),
    ] {
        assert!(matches!(missing, Error::Refused(Refusal::KeyMissing(_))), "{missing}");
    }
    assert_eq!(registry.key_find(&id("AKTWO")).await.unwrap(), None);
    assert_eq!(registry.key_list(None, 10).await.unwrap(), [rotated]);
    assert!(registry.key_list(Some(&id("AKONE")), 10).await.unwrap().is_empty());
    let events = harness.events().await;
    let keys = events.iter().filter(|event| event.kind.starts_with("v1.key."));
    assert!(keys.clone().all(|event| event.producer.is_none()));
    let kinds: Vec<&str> = keys.map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["v1.key.created", "v1.key.created", "v1.key.rotated", "v1.key.revoked"]);
    harness.finish().await;
}
