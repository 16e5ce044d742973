//! The trainer gives what examples/train.txt says, to the last digit, as in every language. A library that is
//! broken is noticed here: `make check-rust` runs this test with one as well.
#[path = "../examples/train.rs"]
mod train;

#[test]
fn same_in_every_language() {
    let mut out = Vec::new();
    train::run(&mut out).expect("no call fails");
    assert_eq!(String::from_utf8(out).unwrap(), include_str!("../../../train.txt"));
}
