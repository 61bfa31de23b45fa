//! The codec against a model that is slow and plain.

use proptest::prelude::*;

use super::*;

/// A decoder as the specification tells it: a list of entries, newest first.
#[derive(Default)]
struct Model {
    entries: Vec<Pair>,
    max: usize,
}

impl Model {
    fn evict(&mut self) {
        let size = |entries: &[Pair]| entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>();
        while size(&self.entries) > self.max {
            self.entries.pop();
        }
    }

    fn entry(&self, index: usize) -> Option<Pair> {
        match index {
            0 => None,
            1..=61 => {
                let (name, value) = static_table::STATIC[index - 1];
                Some((name.into(), value.into()))
            }
            _ => self.entries.get(index - 62).cloned(),
        }
    }
}

/// What an encoder may do next.
#[derive(Clone, Debug)]
enum Step {
    Indexed(usize),
    Literal { pattern: u8, name: Result<usize, Vec<u8>>, value: Vec<u8>, coded: bool },
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..40), "[a-z0-9-]{0,80}".prop_map(String::into_bytes)]
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop_oneof![(1..90_usize).prop_map(Ok), bytes().prop_map(Err)];
    prop_oneof![
        (1..90_usize).prop_map(Step::Indexed),
        (prop::sample::select(vec![0x40, 0x40, 0x40, 0, 0x10]), name, bytes(), any::<bool>())
            .prop_map(|(pattern, name, value, coded)| Step::Literal { pattern, name, value, coded }),
    ]
}

fn write_string(bytes: &[u8], coded: bool, out: &mut Vec<u8>) {
    if coded {
        integer::write(out, 0x80, 7, huffman::encoded_len(bytes));
        huffman::encode(bytes, out);
    } else {
        integer::write(out, 0, 7, bytes.len());
        out.extend_from_slice(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any legal block, in any mixture of representations and table sizes, is read as the model reads it.
    #[test]
    fn decoding_follows_the_model(
        blocks in prop::collection::vec((prop::option::of(0..600_usize), prop::collection::vec(step(), 0..12)), 1..12)
    ) {
        let (mut decoder, mut model) = (Decoder::new(600), Model { max: 600, ..Model::default() });
        for (size, steps) in blocks {
            let (mut block, mut expected, mut legal) = (Vec::new(), Vec::new(), true);
            if let Some(size) = size {
                integer::write(&mut block, 0x20, 5, size);
                model.max = size;
                model.evict();
            }
            for step in steps {
                match step {
                    Step::Indexed(index) => {
                        integer::write(&mut block, 0x80, 7, index);
                        match model.entry(index) {
                            Some(pair) => expected.push(pair),
                            None => legal = false,
                        }
                    }
                    Step::Literal { pattern, name, value, coded } => {
                        let prefix = if pattern == 0x40 { 6 } else { 4 };
                        let index = *name.as_ref().unwrap_or(&0);
                        integer::write(&mut block, pattern, prefix, index);
                        let name = match name {
                            Ok(index) => model.entry(index).map(|(name, _)| name),
                            Err(name) => {
                                write_string(&name, coded, &mut block);
                                Some(name)
                            }
                        };
                        write_string(&value, coded, &mut block);
                        if let Some(name) = name {
                            if pattern == 0x40 {
                                model.entries.insert(0, (name.clone(), value.clone()));
                                model.evict();
                            }
                            expected.push((name, value));
                        } else {
                            legal = false;
                        }
                    }
                }
                if !legal {
                    break;
                }
            }
            let decoded = decode(&mut decoder, &block);
            if !legal {
                prop_assert_eq!(decoded, Err(HpackError::BadIndex));
                return Ok(());
            }
            prop_assert_eq!(decoded, Ok(expected));
            let size: usize = model.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
            prop_assert_eq!(decoder.table_size(), size);
        }
    }

    /// What the encoder writes is read back, whatever becomes of the size of the table.
    #[test]
    fn fields_survive(
        most in 0..5000_usize,
        blocks in prop::collection::vec(
            (prop::option::of(0..5000_usize), prop::collection::vec((name(), bytes()), 0..12)), 1..20)
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(most), Decoder::new(4096));
        for (size, fields) in blocks {
            if let Some(size) = size {
                encoder.set_max(size);
                decoder.set_allowed(size);
            }
            let mut block = Vec::new();
            encoder.begin(&mut block);
            for (name, value) in &fields {
                encoder.field(name, value, &mut block);
            }
            prop_assert_eq!(decode(&mut decoder, &block), Ok(fields));
        }
    }

    /// Any bytes at all are read or refused, within bounds.
    #[test]
    fn any_bytes_are_read_or_refused(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..8)) {
        let mut decoder = Decoder::new(4096);
        for block in blocks {
            if decode(&mut decoder, &block).is_err() {
                break;
            }
            prop_assert!(decoder.table_size() <= 4096);
        }
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<Vec<u8>> = static_table::STATIC.iter().map(|(name, _)| name.as_bytes().to_vec()).collect();
    prop_oneof![prop::sample::select(known), "[a-d-]{1,5}".prop_map(String::into_bytes)]
}
