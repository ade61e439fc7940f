//! A hash over everything that was read of a file, by which a copy of it is known.
//!
//! Always true: the hash at a position depends on the bytes before it alone, however they arrived. It is a chain over blocks,
//! `h(n + 1) = XXH3-128(h(n) || block n)`, so that it can be taken up again in the middle of a file: from the chain's value at
//! a block's start and that one block. Where reading began in a later block (`latest`), the chain begins there.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Bytes in a block of the chain.
pub const BLOCK: u64 = 64 << 10;

/// Where a chain begins, and its value at the start of a later block: what is stored to go on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where the chain begins: a multiple of [`BLOCK`].
    pub base: u64,
    /// A multiple of [`BLOCK`].
    pub at: u64,
    /// 32 hexadecimal digits.
    pub xxh3: String,
}

/// The hash of a file's bytes from the chain's beginning up to a position that moves on.
#[derive(Clone)]
pub struct Prefix {
    base: u64,
    at: u64,
    block: Xxh3,
    /// The chain at the starts of blocks, from the one in which the checkpoint lies.
    links: VecDeque<(u64, u128)>,
}

impl Prefix {
    /// The chain of a file that is read from `position` on: it begins with that position's block.
    pub fn beginning_at(position: u64) -> Self {
        let base = position - position % BLOCK;
        Self::from_link(base, base, 0)
    }

    /// Goes on from a stored link; `None` where it is not one.
    pub fn resume(link: &Link) -> Option<Self> {
        let is_aligned = link.base.is_multiple_of(BLOCK) && link.at.is_multiple_of(BLOCK) && link.base <= link.at;
        let chain = u128::from_str_radix(&link.xxh3, 16).ok()?;
        is_aligned.then(|| Self::from_link(link.base, link.at, chain))
    }

    /// The same chain at its beginning, for another file.
    pub fn again(&self) -> Self {
        Self::from_link(self.base, self.base, 0)
    }

    fn from_link(base: u64, at: u64, chain: u128) -> Self {
        Self { base, at, block: block_after(chain), links: VecDeque::from([(at, chain)]) }
    }

    /// The position up to which bytes were hashed.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The bytes that follow.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK - self.at % BLOCK;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.block.update(now);
            self.at += now.len() as u64;
            bytes = later;
            if self.at.is_multiple_of(BLOCK) {
                let chain = self.block.digest128();
                self.block = block_after(chain);
                self.links.push_back((self.at, chain));
            }
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u128 {
        self.block.digest128()
    }

    /// Beginning of the chain and hash, to be stored and compared.
    pub fn to_text(&self) -> String {
        format!("{}:{:032x}", self.base, self.hash())
    }

    /// The chain's beginning that a stored hash names, for a file that shall be compared with it.
    pub fn like(text: &str) -> Option<Self> {
        let (base, _) = text.split_once(':')?;
        base.parse().ok().filter(|base: &u64| base.is_multiple_of(BLOCK)).map(Self::beginning_at)
    }

    /// The last link at or before `checkpoint`; earlier ones are not needed any more.
    pub fn link_before(&mut self, checkpoint: u64) -> Option<Link> {
        while self.links.get(1).is_some_and(|&(at, _)| at <= checkpoint) {
            self.links.pop_front();
        }
        let &(at, chain) = self.links.front().filter(|&&(at, _)| at <= checkpoint)?;
        Some(Link { base: self.base, at, xxh3: format!("{chain:032x}") })
    }
}

fn block_after(chain: u128) -> Xxh3 {
    let mut block = Xxh3::new();
    block.update(&chain.to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 % 251) as u8).collect()
    }

    fn whole(bytes: &[u8]) -> u128 {
        let mut prefix = Prefix::beginning_at(0);
        prefix.update(bytes);
        prefix.hash()
    }

    proptest! {
        #[test]
        fn the_hash_is_the_same_in_any_pieces_and_from_any_link(
            length in 1usize..300_000,
            cuts in proptest::collection::vec(0.0f64..1.0, 0..6),
            checkpoint in 0.0f64..1.0,
        ) {
            let bytes = content(length);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|part| (part * length as f64) as usize).collect();
            cuts.push(length);
            cuts.sort_unstable();
            let mut prefix = Prefix::beginning_at(0);
            let mut from = 0;
            for cut in cuts {
                prefix.update(&bytes[from..cut]);
                from = cut;
                prop_assert_eq!(prefix.hash(), whole(&bytes[..cut]));
            }
            let checkpoint = (checkpoint * length as f64) as u64;
            let link = prefix.link_before(checkpoint).unwrap();
            prop_assert!(link.at <= checkpoint && checkpoint - link.at < BLOCK);
            let mut resumed = Prefix::resume(&link).unwrap();
            resumed.update(&bytes[link.at as usize..]);
            prop_assert_eq!(resumed.hash(), prefix.hash());
        }
    }

    #[test]
    fn one_other_byte_anywhere_is_another_hash() {
        let bytes = content(200_000);
        for at in [0, 65_535, 65_536, 199_999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(whole(&other), whole(&bytes), "at {at}");
        }
        assert_ne!(whole(&bytes[..65_536]), whole(&bytes[..65_535]));
    }

    #[test]
    fn what_is_no_link_is_refused() {
        let link = |base, at, xxh3: &str| Link { base, at, xxh3: xxh3.into() };
        assert!(Prefix::resume(&link(0, BLOCK, "ff")).is_some());
        assert!(Prefix::resume(&link(0, 5, "ff")).is_none());
        assert!(Prefix::resume(&link(BLOCK, 0, "ff")).is_none());
        assert!(Prefix::resume(&link(0, 0, "xyz")).is_none());
    }
}
