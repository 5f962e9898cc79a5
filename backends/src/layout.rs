//! Where an object lies in a backend: its name as a path, and back.
//!
//! Invariant: one path for each object and one object for each path; what is not exactly such a path names nothing.

use crate::digest::ObjectKey;

/// The folder of all objects named by BLAKE3.
pub const OBJECTS: &str = "blake3";

/// `blake3/<hex[0:2]>/<hex[2:4]>/<hex>`: two levels of fan-out, so that no folder gets long.
#[must_use]
pub fn object_path(key: &ObjectKey) -> String {
    let hex = key.to_hex();
    format!("{OBJECTS}/{}/{}/{hex}", &hex[..2], &hex[2..4])
}

/// The object that lies at this path; `None` for any other path.
#[must_use]
pub fn object_at(path: &str) -> Option<ObjectKey> {
    let (_, hex) = path.rsplit_once('/')?;
    let key = ObjectKey::from_hex(hex).ok()?;
    (object_path(&key) == path).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{object_at, object_path};
    use crate::digest::ObjectKey;

    proptest! {
        #[test]
        fn a_path_leads_back_to_its_object(bytes in any::<[u8; 32]>()) {
            let key = ObjectKey(bytes);
            prop_assert_eq!(object_at(&object_path(&key)), Some(key));
        }

        #[test]
        fn any_other_text_names_nothing_or_is_the_path(text in "[a-f0-9/]{0,80}") {
            if let Some(key) = object_at(&text) {
                prop_assert_eq!(object_path(&key), text);
            }
        }
    }

    #[test]
    fn a_path_is_the_b3sum_of_the_content_under_its_fan_out() {
        let hex = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        let key = ObjectKey(*blake3::hash(b"abc").as_bytes());
        assert_eq!(object_path(&key), format!("blake3/64/37/{hex}"));
    }

    #[test]
    fn near_misses_name_nothing() {
        let path = object_path(&ObjectKey([0xab; 32]));
        for near in [path.to_uppercase(), format!("/{path}"), format!("{path}/"), path.replace("/ab/ab/", "/ab/ac/")] {
            assert_eq!(object_at(&near), None, "{near}");
        }
    }
}
