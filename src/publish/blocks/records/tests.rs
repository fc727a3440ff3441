use proptest::prelude::*;

use super::*;

/// One record a line, its key the first word.
fn split(text: &str, most: usize) -> Result<Vec<(String, Record)>, String> {
    Ok(text.lines().take(most).map(|line| record(line.split(' ').next().unwrap(), line)).collect())
}

fn record(key: &str, line: &str) -> (String, Record) {
    (key.to_owned(), Record::new(key, format!("{line}\n")))
}

fn records(count: usize) -> Vec<(String, Record)> {
    (0..count)
        .map(|n| record(&format!("package-{n:05}"), &format!("package-{n:05} and its size {n}")))
        .collect()
}

fn packed(records: impl IntoIterator<Item = (String, Record)>, most: usize) -> Packed {
    Records { most, ..Records::new(split, records) }.pack(Forms::All, None).unwrap()
}

/// The records of a file that was written, from its text or from its gzip form.
fn read(before: &Packed, from_text: bool, most: usize) -> Option<Records<String>> {
    let files = match from_text {
        true => Files { plain: before.plain.clone(), ..Files::default() },
        false => Files { gz: before.gz.clone(), ..Files::default() },
    };
    let mut records = Records { most, ..Records::of(split, files, &before.table, false).ok()? };
    records.complete(before.gz.clone(), before.xz.clone(), before.zst.clone());
    Some(records)
}

#[test]
fn a_new_record_is_looked_for_in_few_blocks_and_changes_one_or_two() {
    let before = packed(records(1000), MOST);
    assert!(before.table.len() > 20, "{}", before.table.len());
    let mut draft = read(&before, true, MOST).unwrap();
    let (key, new) = record("package-00499a", "package-00499a");
    assert_eq!(draft.get(&key), Ok(None));
    draft.insert(key, new).unwrap();
    assert_eq!(draft.pieces.iter().filter(|piece| piece.records.is_some()).count(), 1);
    let after = draft.pack(Forms::All, None).unwrap();
    assert!(after.table.iter().filter(|block| !before.table.contains(block)).count() <= 2);
    assert_eq!(after.plain.lines().count(), 1001);
}

#[test]
fn all_forms_of_a_file_hold_its_text() {
    for count in [0, 300] {
        let packed = packed(records(count), MOST);
        let mut gz = Vec::new();
        flate2::read::MultiGzDecoder::new(packed.gz.as_slice()).read_to_end(&mut gz).unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzDecoder::new(packed.xz.as_slice()).read_to_end(&mut xz).unwrap();
        let zst = zstd::decode_all(packed.zst.as_slice()).unwrap();
        let plain = packed.plain.as_bytes();
        assert!(gz == plain && xz == plain && zst == plain && packed.plain.lines().count() == count);
    }
}

#[test]
fn records_are_found_wherever_they_are() {
    let before = packed(records(500), MOST);
    let mut draft = read(&before, false, MOST).unwrap();
    for n in [0, 1, 250, 498, 499] {
        let text = draft.get(&format!("package-{n:05}")).unwrap().map(str::to_owned);
        assert_eq!(text, Some(format!("package-{n:05} and its size {n}\n")));
    }
    let found = draft.from(&"package-003".to_owned(), |key| key.starts_with("package-003")).unwrap();
    assert_eq!(found.len(), 100);
    assert_eq!(draft.all().unwrap().len(), 500);
}

#[test]
fn a_table_that_is_not_that_of_the_file_is_not_used() {
    let before = packed(records(300), MOST);
    let mut short = before.clone();
    short.plain.pop();
    assert!(read(&short, true, MOST).is_none());
    // One form alone is another: nothing is kept, and nothing is lost.
    let other = Packed { zst: before.zst[1..].to_vec(), ..before.clone() };
    assert_eq!(read(&other, true, MOST).unwrap().pack(Forms::All, None).unwrap(), before);
    let gzip_alone =
        packed(records(300), MOST).table.into_iter().map(|block| Block { xz: None, zst: None, ..block });
    let other = Packed { table: gzip_alone.collect(), ..before.clone() };
    assert_eq!(read(&other, true, MOST).unwrap().pack(Forms::All, None).unwrap(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_changes_the_file_is_the_one_that_is_made_anew(
        start in prop::collection::btree_map(0_u16..400, 0_usize..60, 0..200),
        changes in prop::collection::vec((0_u16..400, prop::option::of(0_usize..60)), 0..20),
        from_text: bool,
    ) {
        // Blocks of so few bytes are ended by their length as often as by what they hold.
        let most = 300;
        let of = |number: &u16, length: &usize| {
            let key = format!("{number:03}");
            record(&key, &format!("{key} {}", "x".repeat(*length)))
        };
        let before = packed(start.iter().map(|(number, length)| of(number, length)), most);
        let mut draft = match start.is_empty() {
            true => Records { most, ..Records::new(split, []) },
            false => read(&before, from_text, most).unwrap(),
        };
        let mut expected = start;
        for (number, length) in &changes {
            match length {
                Some(length) => {
                    let (key, record) = of(number, length);
                    draft.insert(key, record).unwrap();
                    expected.insert(*number, *length);
                }
                None => {
                    let was = expected.remove(number).is_some();
                    prop_assert_eq!(draft.remove(&format!("{number:03}")).unwrap(), was);
                }
            }
        }
        let expected = packed(expected.iter().map(|(number, length)| of(number, length)), most);
        prop_assert_eq!(draft.pack(Forms::All, None).unwrap(), expected);
    }
}
