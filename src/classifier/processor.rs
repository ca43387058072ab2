//! What a processor is, as far as the speed of engines depends on it: measurements of one say nothing about another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A processor by its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// The machine's architecture: `x86_64`, `aarch64`.
    pub architecture: String,
    /// Its model, or on Arm the board's; `unknown` where the kernel names none.
    pub name: String,
    /// Cores that this process may run on.
    pub cores: usize,
    /// The kinds of cores and their revisions, as `/proc/cpuinfo` numbers them.
    pub kinds: Vec<String>,
    /// CRC-32 of the instruction set extensions that the kernel lists: a virtual machine may hide some.
    pub extensions: u32,
}

/// The fields of `/proc/cpuinfo` that tell one kind of core from another: x86's, then Arm's.
const KIND: [&str; 9] = [
    "vendor_id",
    "cpu family",
    "model",
    "stepping",
    "CPU implementer",
    "CPU architecture",
    "CPU variant",
    "CPU part",
    "CPU revision",
];

impl Processor {
    /// This machine's, from `/proc/cpuinfo` and the device tree.
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let board = std::fs::read_to_string("/proc/device-tree/model").ok();
        Self::read(std::env::consts::ARCH, &cpuinfo, board.as_deref(), super::running::cores())
    }

    fn read(architecture: &str, cpuinfo: &str, board: Option<&str>, cores: usize) -> Self {
        let named = |key: &str| cpuinfo.lines().find_map(|line| value(line, key));
        let name = named("model name").or(board).or_else(|| named("Hardware")).unwrap_or("unknown");
        let mut kinds: Vec<String> = cpuinfo.split("\n\n").map(kind).filter(|kind| !kind.is_empty()).collect();
        kinds.sort();
        kinds.dedup();
        let extensions = named("flags").or_else(|| named("Features")).unwrap_or_default();
        Self {
            architecture: architecture.to_owned(),
            name: name.trim_end_matches('\0').trim().to_owned(),
            cores,
            kinds,
            extensions: crc32fast::hash(extensions.as_bytes()),
        }
    }
}

/// One core's kind, from its paragraph.
fn kind(paragraph: &str) -> String {
    let values = KIND.iter().filter_map(|key| paragraph.lines().find_map(|line| value(line, key)));
    values.collect::<Vec<_>>().join(" ")
}

/// The value of a line `key : value`, where the key is exactly this one.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    (found.trim() == key).then(|| value.trim())
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores, {}", self.name, self.cores, self.architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\
                       stepping\t: 1\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nvendor_id\t: AuthenticAMD\n\
                       cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nstepping\t: 1\nflags\t\t: fpu avx2 avx512f\n";
    const ARM: &str = "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\
                       CPU revision\t: 1\n\nprocessor\t: 1\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\nCPU revision\t: 0\n";

    #[test]
    fn equal_cores_are_one_kind_and_big_and_little_are_two() {
        let x86 = Processor::read("x86_64", X86, None, 2);
        assert_eq!((x86.name.as_str(), x86.kinds.as_slice()), ("AMD EPYC", &["AuthenticAMD 26 2 1".to_owned()][..]));
        assert_eq!(x86.to_string(), "AMD EPYC, 2 cores, x86_64");
        let arm = Processor::read("aarch64", ARM, Some("Raspberry Pi 5 Model B\0"), 4);
        assert_eq!(arm.name, "Raspberry Pi 5 Model B");
        assert_eq!(arm.kinds, ["0x41 0xd05 0", "0x41 0xd0b 1"]);
    }

    #[test]
    fn a_missing_extension_is_another_processor() {
        let with = Processor::read("x86_64", X86, None, 2);
        let without = Processor::read("x86_64", &X86.replace(" avx512f", ""), None, 2);
        assert_ne!(with, without);
        assert_eq!(Processor::read("x86_64", "", None, 1).name, "unknown");
    }

    #[test]
    fn this_machine_says_who_it_is() {
        let here = Processor::here();
        assert!(here.cores >= 1 && here.architecture == std::env::consts::ARCH, "{here:?}");
        assert_eq!(here, Processor::here());
    }
}
