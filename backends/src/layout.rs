//! Where an object lies in a backend: its name as a path, and back.
//!
//! Invariant: one path for each object and one object for each path; what is not exactly such a path names nothing.

use crate::digest::ObjectKey;

/// The folder of all objects named by BLAKE3.
pub const OBJECTS: &str = "blake3";

/// How deep a store's objects lie below [`OBJECTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    levels: usize,
}

/// `blake3/<hex[0:2]>/<hex>`: a new folder costs several syncs, and 256 of them are soon all there.
pub const FOLDER: Layout = Layout { levels: 1 };

/// `blake3/<hex[0:2]>/<hex[2:4]>/<hex>`: in a bucket a level costs nothing, and a name must never change.
pub const BUCKET: Layout = Layout { levels: 2 };

impl Layout {
    /// Where an object lies.
    #[must_use]
    pub fn path(self, key: &ObjectKey) -> String {
        let hex = key.to_hex();
        let fan_out: String = (0..self.levels).map(|level| format!("{}/", &hex[2 * level..2 * level + 2])).collect();
        format!("{OBJECTS}/{fan_out}{hex}")
    }

    /// The object that lies at this path; `None` for any other path.
    #[must_use]
    pub fn object_at(self, path: &str) -> Option<ObjectKey> {
        let (_, hex) = path.rsplit_once('/')?;
        let key = ObjectKey::from_hex(hex).ok()?;
        (self.path(&key) == path).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{BUCKET, FOLDER};
    use crate::digest::ObjectKey;

    proptest! {
        #[test]
        fn a_path_leads_back_to_its_object_in_its_own_layout_alone(bytes in any::<[u8; 32]>()) {
            let key = ObjectKey(bytes);
            for (layout, other) in [(FOLDER, BUCKET), (BUCKET, FOLDER)] {
                prop_assert_eq!(layout.object_at(&layout.path(&key)), Some(key));
                prop_assert_eq!(other.object_at(&layout.path(&key)), None);
            }
        }

        #[test]
        fn any_other_text_names_nothing_or_is_the_path(text in "[a-f0-9/]{0,80}") {
            for layout in [FOLDER, BUCKET] {
                if let Some(key) = layout.object_at(&text) {
                    prop_assert_eq!(layout.path(&key), text.as_str());
                }
            }
        }
    }

    #[test]
    fn a_path_is_the_b3sum_of_the_content_under_its_fan_out() {
        let hex = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        let key = ObjectKey(*blake3::hash(b"abc").as_bytes());
        assert_eq!(FOLDER.path(&key), format!("blake3/64/{hex}"));
        assert_eq!(BUCKET.path(&key), format!("blake3/64/37/{hex}"));
    }

    #[test]
    fn near_misses_name_nothing() {
        for layout in [FOLDER, BUCKET] {
            let path = layout.path(&ObjectKey([0xab; 32]));
            let elsewhere = path.replacen("/ab/", "/ac/", 1);
            for near in [path.to_uppercase(), format!("/{path}"), format!("{path}/"), elsewhere] {
                assert_eq!(layout.object_at(&near), None, "{near}");
            }
        }
    }
}
