use super::*;

#[test]
fn lengths_of_the_table() {
    assert_eq!(frame_len(b""), Ok(None));
}
