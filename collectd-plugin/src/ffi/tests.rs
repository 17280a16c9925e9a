use super::*;

#[test]
fn a_panic_becomes_a_failure() {
    assert_eq!(catch_panic(FAILED, || 7), 7);
    assert_eq!(catch_panic(FAILED, || panic!("on purpose")), FAILED);
}

#[test]
fn texts_are_cut_between_characters_and_terminated() {
    let mut field = [1; 4];
    field.fill(0);
    fill(&mut field, "aüö");
    assert_eq!(field.map(|byte| byte as u8), [b'a', 0xc3, 0xbc, 0]);
    assert_eq!(one_line("a\nb\u{1b}[0m", 5), "a b [");
}

#[test]
fn times_are_in_collectds_unit() {
    assert_eq!(cdtime(Duration::from_millis(1500)), 3 << 29);
    let epoch = SystemTime::UNIX_EPOCH;
    assert_eq!(since_epoch(epoch + Duration::from_secs(1)), 1 << 30);
    assert_eq!(since_epoch(epoch - Duration::from_secs(1)), 0);
}

#[test]
fn the_configuration_tree_is_copied() {
    let texts = [c"Plugin", c"nats", c"Port"];
    // SAFETY: plain data.
    let mut number: c::oconfig_value_t = unsafe { std::mem::zeroed() };
    number.type_ = c::OCONFIG_TYPE_NUMBER as c_int;
    number.value.number = 8222.0;
    // SAFETY: as above.
    let mut name: c::oconfig_value_t = unsafe { std::mem::zeroed() };
    name.value.string = texts[1].as_ptr().cast_mut();
    // A text in Latin-1.
    let mut latin = name;
    latin.value.string = c"\xfc".as_ptr().cast_mut();
    let mut names = [name, latin];
    // SAFETY: as above.
    let mut child: c::oconfig_item_t = unsafe { std::mem::zeroed() };
    child.key = texts[2].as_ptr().cast_mut();
    child.values = &raw mut number;
    child.values_num = 1;
    // SAFETY: as above.
    let mut block: c::oconfig_item_t = unsafe { std::mem::zeroed() };
    block.key = texts[0].as_ptr().cast_mut();
    block.values = names.as_mut_ptr();
    block.values_num = 2;
    block.children = &raw mut child;
    block.children_num = 1;
    // SAFETY: a tree as collectd makes it.
    let read = unsafe { read_item(&raw const block) };
    assert_eq!(read.key, "Plugin");
    assert_eq!(
        read.values,
        [Scalar::Text("nats".to_owned()), Scalar::NotUtf8]
    );
    assert_eq!(read.children[0].key, "Port");
    assert_eq!(read.children[0].values, [Scalar::Number(8222.0)]);
    // SAFETY: null is allowed.
    assert!(unsafe { read_item(std::ptr::null()) }.children.is_empty());
}
