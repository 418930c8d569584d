//! UUIDs that are derived from names (RFC 9562, version 5).

use std::fmt::Write as _;

use ring::digest;

/// The namespace that the conventions give for `service.instance.id`: 4d63009a-8d0f-11ee-aad7-4c796ed8e320.
const NAMESPACE: [u8; 16] =
    [0x4d, 0x63, 0x00, 0x9a, 0x8d, 0x0f, 0x11, 0xee, 0xaa, 0xd7, 0x4c, 0x79, 0x6e, 0xd8, 0xe3, 0x20];

/// Returns the UUID of `name`, in lower case with dashes.
pub(super) fn of_name(name: &str) -> String {
    // RFC 9562 prescribes SHA-1; nothing rests on its strength.
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&NAMESPACE);
    context.update(name.as_bytes());
    let mut text = String::with_capacity(36);
    for (index, byte) in context.finish().as_ref().iter().take(16).enumerate() {
        let byte = match index {
            6 => byte & 0x0f | 0x50,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::of_name;

    #[test]
    fn it_is_the_uuid_that_python_computes() {
        // uuid.uuid5(uuid.UUID('4d63009a-8d0f-11ee-aad7-4c796ed8e320'), 'remora')
        assert_eq!(of_name("remora"), "ffe0e8d1-0bcf-505e-917b-c95540cb8214");
        assert_ne!(of_name("remora"), of_name("remorb"));
    }
}
