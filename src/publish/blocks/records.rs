#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

use super::{Block, Forms, MOST, Packed, RECORDS, Writer, xz};
use crate::model::Digest;

/// Takes a text apart into its records, at most so many. Errors say what is wrong with it.
pub(in crate::publish) type Split<K> = fn(&str, usize) -> Result<Vec<(K, Record)>, String>;

/// One record of an index file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::publish) struct Record {
    pub(in crate::publish) text: String,
    /// Whether a block begins with it.
    begins: bool,
}

impl Record {
    /// A record that `name` tells from others: whether a block begins with it follows from that alone.
    pub(in crate::publish) fn new(name: &str, text: String) -> Self {
        Self { text, begins: Digest::of(name).bytes()[0] < u8::MAX / RECORDS + 1 }
    }
}

/// An index file as it was written, in the forms that are at hand; the others are empty.
#[derive(Debug, Default)]
pub(in crate::publish) struct Files {
    pub(in crate::publish) plain: String,
    pub(in crate::publish) gz: Vec<u8>,
    pub(in crate::publish) xz: Vec<u8>,
    pub(in crate::publish) zst: Vec<u8>,
}

/// The records of an index file in the order of their keys. Of a file whose blocks are known only those are taken apart
/// that somebody looks into, and only those compressed again that change; the file is the same as one that is made anew.
pub(in crate::publish) struct Records<K> {
    split: Split<K>,
    files: Files,
    /// What the table says of their sizes.
    sizes: [usize; 4],
    pieces: Vec<Piece<K>>,
    /// The most bytes of a block that is not a single record.
    most: usize,
}

/// A block as it was, with the records that fall into it now.
struct Piece<K> {
    known: Option<Known>,
    /// The key of the first record that it had.
    first: Option<K>,
    records: Option<BTreeMap<K, Record>>,
    is_changed: bool,
}

/// Where a block is in each of the files.
struct Known {
    block: Block,
    plain: Range<usize>,
    gz: Range<usize>,
    xz: Range<usize>,
    zst: Range<usize>,
}

/// A block of the next file: one that was there, by its piece, or a new one.
enum Cut {
    Kept(usize),
    New(String),
}

impl<K: Ord + Clone> Records<K> {
    /// Those of a file of which no blocks are known, or of none.
    pub(in crate::publish) fn new(split: Split<K>, records: impl IntoIterator<Item = (K, Record)>) -> Self {
        let records = Some(records.into_iter().collect());
        let piece = Piece { known: None, first: None, records, is_changed: true };
        Self { split, files: Files::default(), sizes: [0; 4], pieces: vec![piece], most: MOST }
    }

    /// Those of a file that was written with this table, of which the text or the gzip form is at hand; they are given back if the table is not its
    /// own. The first and the last block of a framed file hold no records.
    pub(in crate::publish) fn of(
        split: Split<K>,
        files: Files,
        table: &[Block],
        framed: bool,
    ) -> Result<Self, Files> {
        let Some((pieces, sizes)) = pieces(table, framed) else { return Err(files) };
        let is_there = !(files.plain.is_empty() && files.gz.is_empty());
        let records = Self { split, files, sizes, pieces, most: MOST };
        match is_there && records.fits() {
            true => Ok(records),
            false => Err(records.files),
        }
    }

    /// Whether the forms that are at hand are as long as the table says.
    fn fits(&self) -> bool {
        let Files { plain, gz, xz, zst } = &self.files;
        let same = |size: usize, form: usize| size == 0 || size == self.sizes[form];
        // An xz file has an index after its blocks.
        same(plain.len(), 0)
            && same(gz.len(), 1)
            && same(zst.len(), 3)
            && (xz.is_empty() || xz.len() > self.sizes[2])
    }

    /// Takes the compressed forms, without which no block can be kept.
    pub(in crate::publish) fn complete(&mut self, gz: Vec<u8>, xz: Vec<u8>, zst: Vec<u8>) {
        (self.files.gz, self.files.xz, self.files.zst) = (gz, xz, zst);
    }

    fn opened(&mut self) -> Result<Vec<(K, Record)>, String> {
        let mut all = Vec::new();
        for at in 0..self.pieces.len() {
            all.extend(std::mem::take(self.open(at)?));
        }
        Ok(all)
    }

    /// Whether all blocks that were there can be kept.
    fn keeps(&self, forms: Forms) -> bool {
        let Files { gz, xz, zst, .. } = &self.files;
        let mut known = self.pieces.iter().filter_map(|piece| piece.known.as_ref());
        let mut all = || known.all(|known| known.block.xz.is_some() && known.block.zst.is_some());
        self.fits() && !gz.is_empty() && (forms != Forms::All || !xz.is_empty() && !zst.is_empty() && all())
    }

    /// The text of a block that was there.
    fn text(&self, known: &Known) -> Result<Cow<'_, str>, String> {
        if !self.files.plain.is_empty() {
            let text = self.files.plain.get(known.plain.clone());
            return text.map(Cow::Borrowed).ok_or_else(|| "a block ends in a letter".to_owned());
        }
        let mut text = String::new();
        let packed = self.files.gz.get(known.gz.clone()).unwrap_or_default();
        let unpacked =
            flate2::bufread::GzDecoder::new(packed).take(known.block.plain + 1).read_to_string(&mut text);
        match unpacked {
            Ok(size) if size as u64 == known.block.plain => Ok(Cow::Owned(text)),
            Ok(_) => Err("a block is not as long as its table says".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The first record of a piece as it was.
    fn first(&self, at: usize) -> Result<(K, Record), String> {
        let known = self.pieces[at].known.as_ref().ok_or("a block was never there")?;
        (self.split)(&self.text(known)?, 1)?.pop().ok_or_else(|| "a block holds no record".to_owned())
    }

    /// The piece into which a record with this key falls.
    fn place(&mut self, key: &K) -> Result<usize, String> {
        let (mut low, mut high) = (0, self.pieces.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.pieces[middle].first.is_none() {
                self.pieces[middle].first = Some(self.first(middle)?.0);
            }
            match self.pieces[middle].first.as_ref().is_some_and(|first| first <= key) {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(low)
    }

    fn open(&mut self, at: usize) -> Result<&mut BTreeMap<K, Record>, String> {
        if self.pieces[at].records.is_none()
            && let Some(known) = &self.pieces[at].known
        {
            let records = (self.split)(&self.text(known)?, usize::MAX)?;
            self.pieces[at].records = Some(records.into_iter().collect());
        }
        Ok(self.pieces[at].records.get_or_insert_default())
    }

    /// The text of the record with this key.
    pub(in crate::publish) fn get(&mut self, key: &K) -> Result<Option<&str>, String> {
        let at = self.place(key)?;
        Ok(self.open(at)?.get(key).map(|record| record.text.as_str()))
    }

    /// The records from this key on for as long as they belong to what is looked for.
    pub(in crate::publish) fn from(
        &mut self,
        key: &K,
        belongs: impl Fn(&K) -> bool,
    ) -> Result<Vec<(K, String)>, String> {
        let mut found = Vec::new();
        for at in self.place(key)?..self.pieces.len() {
            for (key, record) in self.open(at)?.range(key..) {
                if !belongs(key) {
                    return Ok(found);
                }
                found.push((key.clone(), record.text.clone()));
            }
        }
        Ok(found)
    }

    /// All records.
    pub(in crate::publish) fn all(&mut self) -> Result<Vec<(K, String)>, String> {
        let mut all = Vec::new();
        for at in 0..self.pieces.len() {
            all.extend(self.open(at)?.iter().map(|(key, record)| (key.clone(), record.text.clone())));
        }
        Ok(all)
    }

    /// Adds a record, in the place of one with the same key.
    pub(in crate::publish) fn insert(&mut self, key: K, record: Record) -> Result<(), String> {
        let at = self.place(&key)?;
        self.open(at)?.insert(key, record);
        self.pieces[at].is_changed = true;
        Ok(())
    }

    /// Removes a record. Tells whether it was there.
    pub(in crate::publish) fn remove(&mut self, key: &K) -> Result<bool, String> {
        let at = self.place(key)?;
        let removed = self.open(at)?.remove(key).is_some();
        self.pieces[at].is_changed |= removed;
        Ok(removed)
    }

    /// Cuts the records into blocks. A block that did not change is one again if the one before it still ends where it did.
    fn cut(&mut self) -> Result<Vec<Cut>, String> {
        let mut cuts: Vec<Cut> = Vec::new();
        let mut ends_as_before = true;
        for at in 0..self.pieces.len() {
            let kept = !self.pieces[at].is_changed
                && (ends_as_before || self.begins(&self.first(at)?.1, cuts.last()));
            ends_as_before = kept;
            if kept {
                cuts.push(Cut::Kept(at));
                continue;
            }
            for record in std::mem::take(self.open(at)?).into_values() {
                self.append(&mut cuts, record)?;
            }
        }
        Ok(cuts)
    }

    /// Whether a record begins a block after this one.
    fn begins(&self, record: &Record, last: Option<&Cut>) -> bool {
        let before = match last {
            None => 0,
            Some(Cut::Kept(at)) => self.pieces[*at].known.as_ref().map_or(0, |known| known.plain.len()),
            Some(Cut::New(text)) => text.len(),
        };
        before == 0 || record.begins || before + record.text.len() > self.most
    }

    fn append(&self, cuts: &mut Vec<Cut>, record: Record) -> Result<(), String> {
        if self.begins(&record, cuts.last()) {
            cuts.push(Cut::New(record.text));
            return Ok(());
        }
        if let Some(Cut::Kept(at)) = cuts.last() {
            let known = self.pieces[*at].known.as_ref().ok_or("a block was never there")?;
            let text = self.text(known)?.into_owned();
            cuts.pop();
            cuts.push(Cut::New(text));
        }
        if let Some(Cut::New(text)) = cuts.last_mut() {
            text.push_str(&record.text);
        }
        Ok(())
    }

    /// The file in its forms, with a frame around the records if it has one.
    pub(in crate::publish) fn pack(
        mut self,
        forms: Forms,
        frame: Option<(String, String)>,
    ) -> io::Result<Packed> {
        if !self.keeps(forms) {
            self =
                Self { most: self.most, ..Self::new(self.split, self.opened().map_err(io::Error::other)?) };
        }
        let cuts = self.cut().map_err(io::Error::other)?;
        let mut writer = Writer::new(forms);
        if let Some((start, _)) = &frame {
            writer.compress(start)?;
        }
        for cut in &cuts {
            match cut {
                Cut::New(text) => writer.compress(text)?,
                Cut::Kept(at) => {
                    let Some(known) = &self.pieces[*at].known else { continue };
                    let text = match forms {
                        Forms::Gzip => Cow::Borrowed(""),
                        _ => self.text(known).map_err(io::Error::other)?,
                    };
                    let Files { gz, xz, zst, .. } = &self.files;
                    let parts = [(gz, &known.gz), (xz, &known.xz), (zst, &known.zst)];
                    let parts = parts.map(|(file, range)| file.get(range.clone()).unwrap_or_default());
                    writer.keep(&known.block, &text, parts);
                }
            }
        }
        if let Some((_, end)) = &frame {
            writer.compress(end)?;
        }
        writer.finish()
    }
}

/// The blocks of a table that hold records, at least one, and the sizes of text, gzip, xz without its end, and zstd.
fn pieces<K>(table: &[Block], framed: bool) -> Option<(Vec<Piece<K>>, [usize; 4])> {
    // The first block of an xz file begins after the header of its stream.
    let mut sizes = [0, 0, xz::HEADER.len(), 0];
    let mut take = |form: usize, size: u64| -> Option<Range<usize>> {
        let start = sizes[form];
        sizes[form] = start.checked_add(usize::try_from(size).ok()?)?;
        Some(start..sizes[form])
    };
    let mut pieces = Vec::with_capacity(table.len());
    for block in table {
        let known = Known {
            plain: take(0, block.plain)?,
            gz: take(1, block.gz)?,
            xz: take(2, block.xz.map_or(0, |(size, _)| size))?,
            zst: take(3, block.zst.unwrap_or(0))?,
            block: block.clone(),
        };
        pieces.push(Piece { known: Some(known), first: None, records: None, is_changed: false });
    }
    if framed {
        pieces.pop()?;
        (!pieces.is_empty()).then(|| pieces.remove(0))?;
    }
    (!pieces.is_empty()).then_some((pieces, sizes))
}
