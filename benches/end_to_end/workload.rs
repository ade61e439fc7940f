//! The logs that are delivered: lines as web servers and services write them, the same bytes for the same seed.
//!
//! How well a log compresses decides what it costs to compress, so the share of random digits in a line is part of the
//! workload: with flate2 at level 6 the nginx lines reach a ratio of 8.2 and the JSON lines one of 5.2. Change nothing
//! here without a new `VERSION`; figures for different versions cannot be compared.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;
const BLOCK: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// nginx's combined format.
    Nginx,
    /// JSON objects of 12 fields.
    Json,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Json => "json",
        }
    }

    /// The log of `bytes` bytes, made when the cache does not hold it; at return it is in the page cache.
    pub fn file(self, cache: &Path, bytes: u64) -> Result<PathBuf, Box<dyn Error>> {
        let path = cache.join(format!("{}-{VERSION}-{bytes}.log", self.name()));
        if !path.exists() {
            eprintln!("making {}", path.display());
            let aside = path.with_extension("part");
            self.write(&aside, bytes, 0)?;
            // Its way to the disk must not fall into the first case.
            File::open(&aside)?.sync_all()?;
            std::fs::rename(&aside, &path)?;
        }
        let mut file = File::open(&path)?;
        let mut block = vec![0; BLOCK];
        while file.read(&mut block)? > 0 {}
        Ok(path)
    }

    /// Writes exactly `bytes` bytes (the last line is cut and ended with a line feed), piece by piece under the final
    /// name, as a service writes its log.
    pub fn write(self, path: &Path, bytes: u64, seed: u64) -> Result<(), Box<dyn Error>> {
        let mut file = File::create(path)?;
        let mut lines = Lines::new(seed);
        let mut block = Vec::with_capacity(BLOCK + 4096);
        let mut left = bytes;
        while left > 0 {
            block.clear();
            while block.len() < BLOCK {
                match self {
                    Self::Nginx => lines.nginx(&mut block)?,
                    Self::Json => lines.json(&mut block)?,
                }
            }
            if block.len() as u64 >= left {
                block.truncate(left as usize);
                if let Some(last) = block.last_mut() {
                    *last = b'\n';
                }
            }
            file.write_all(&block)?;
            left -= block.len() as u64;
        }
        Ok(())
    }
}

const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "ExampleBot/2.1 (+https://bot.example.net/about)",
    "curl/8.16.0",
];
const SECTIONS: [&str; 8] =
    ["products", "search", "cart", "account", "static/js", "static/img", "api/v1/items", "blog"];
const SERVICES: [&str; 6] = ["checkout", "catalogue", "search", "accounts", "gateway", "payments"];
const MESSAGES: [&str; 6] = [
    r#"request served from cache, key \"item\" is fresh"#,
    r#"upstream answered, body decoded and validated"#,
    r#"user profile loaded from \"primary\" replica set"#,
    r#"retrying after a transient error: connection reset by peer"#,
    r#"rendered template C:\\templates\\item.html for the web"#,
    r#"rate limit checked: bucket has room for more requests"#,
];

/// Writes line after line; the clock in them goes on from line to line.
struct Lines {
    random: u64,
    millis: u64,
}

impl Lines {
    fn new(seed: u64) -> Self {
        Self { random: seed.wrapping_mul(0xA076_1D64_78BD_642F) ^ 0x1234_5678_9ABC_DEF1, millis: 0 }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Small numbers much more often than large ones, as with popular pages and busy clients.
    fn skewed(&mut self, end: u64) -> u64 {
        let first = self.below(end) + 1;
        let second = self.below(first) + 1;
        self.below(second)
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.skewed(items.len() as u64) as usize]
    }

    /// Hours, minutes, seconds, milliseconds and the day of October, which begins again after 28 days.
    fn clock(&mut self) -> (u64, u64, u64, u64, u64) {
        self.millis += self.below(8);
        let seconds = self.millis / 1000;
        (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, self.millis % 1000, 1 + seconds / 86_400 % 28)
    }

    fn status(&mut self) -> u64 {
        match self.below(100) {
            0..90 => 200,
            90..94 => 304,
            94..98 => 404,
            _ => 500,
        }
    }

    fn nginx(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let client = self.below(180_000);
        let (net, host) = (["192.0.2", "198.51.100", "203.0.113"][(client % 3) as usize], client / 3 % 254 + 1);
        let (hour, minute, second, _, day) = self.clock();
        let (section, page, item) = (self.pick(&SECTIONS), self.below(30_000), self.below(100_000_000_000_000));
        let (status, length) = (self.status(), self.below(1_000_000));
        let (referrer, from) = (self.pick(&SECTIONS), self.below(1_000_000));
        // A client has one browser, as a rule.
        let agent = AGENTS[(client * 7 % 11 % AGENTS.len() as u64) as usize];
        writeln!(
            out,
            "{net}.{host} - - [{day:02}/Oct/2026:{hour:02}:{minute:02}:{second:02} +0000] \"GET /{section}/{page}?id={item} HTTP/1.1\" \
             {status} {length} \"https://shop.example.com/{referrer}/{from}\" \"{agent}\""
        )
    }

    fn json(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let (hour, minute, second, millis, day) = self.clock();
        let level = ["info", "warn", "error"][self.skewed(3) as usize];
        let (host, service) = (self.below(12) + 1, self.pick(&SERVICES));
        let method = ["GET", "POST", "PUT"][self.skewed(3) as usize];
        let (section, page) = (self.pick(&SECTIONS), self.below(30_000));
        let (status, length, latency) = (self.status(), self.below(1_000_000), self.below(2_000_000));
        let (user, item) = (self.below(10_000_000_000), self.below(10_000_000_000_000));
        let trace = (u128::from(self.next()) << 64) | u128::from(self.next());
        let message = self.pick(&MESSAGES);
        writeln!(
            out,
            "{{\"time\":\"2026-10-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\",\"level\":\"{level}\",\
             \"host\":\"web-{host:02}\",\"service\":\"{service}\",\"method\":\"{method}\",\"path\":\"/{section}/{page}\",\
             \"status\":{status},\"bytes\":{length},\"latency_ms\":{}.{:03},\"user_id\":{user},\
             \"trace_id\":\"{trace:032x}\",\"message\":\"item {item}: {message}\"}}",
            latency / 1000,
            latency % 1000,
        )
    }
}
