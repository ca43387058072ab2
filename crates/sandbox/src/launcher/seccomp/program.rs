//! From the lists to a program for the kernel's classic BPF, worked out by the compiler: a start builds nothing.
//!
//! A list becomes a binary search over ranges of numbers with one verdict. The kernel runs a new program once for each
//! system call there is (`seccomp_cache_prepare`), and again for each call with tests, so that a short way to a verdict
//! counts at a start and ever after; one comparison after another takes ten times the steps. See `seccomp(2)` and
//! the kernel's `Documentation/userspace-api/seccomp_filter.rst`.

use libc::*;
use seccompiler::sock_filter;

use super::list::{Group, Restricted, Test};

/// Above the highest number of a system call that is listed; `x86_64`'s and the generic table end below 480.
const NUMBERS: usize = 512;

/// Enough for a user's function, whose program is the longest. The kernel takes 4096.
const MOST: usize = 448;

/// Where `struct seccomp_data` has what a program looks at; arguments have 64 bits, lower half first.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// `AUDIT_ARCH_…` of `linux/audit.h`: little-endian, 64 bits, and the machine's number in ELF.
const ARCHITECTURE: u32 = {
    let machine = if cfg!(target_arch = "x86_64") { EM_X86_64 } else { EM_AARCH64 };
    0xC000_0000 | machine as u32
};

const REFUSED: u32 = SECCOMP_RET_ERRNO | EPERM as u32;
const MISSING: u32 = SECCOMP_RET_ERRNO | ENOSYS as u32;

/// What is answered to a system call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Refused,
    Allowed,
    Missing,
    /// By the arguments: index of the entry that says so.
    Restricted(u8),
}

impl Verdict {
    const fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Refused, Self::Refused) | (Self::Allowed, Self::Allowed) | (Self::Missing, Self::Missing) => true,
            (Self::Restricted(one), Self::Restricted(another)) => one == another,
            _ => false,
        }
    }
}

/// A program for `seccomp(2)`.
pub(super) struct Program {
    instructions: [sock_filter; MOST],
    length: usize,
}

impl Program {
    /// The program that allows what `lists` and `restricted` do, makes `missing` seem missing, and refuses everything
    /// else.
    pub(super) const fn new(lists: &[&[Group]], restricted: &'static [Restricted], missing: &[c_long]) -> Self {
        let ranges = Ranges::new(&verdicts(lists, restricted, missing));
        let mut program = Self { instructions: [const { answer(SECCOMP_RET_KILL_PROCESS) }; MOST], length: 0 };
        program.push(load(ARCHITECTURE_AT));
        program.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE));
        program.push(answer(SECCOMP_RET_KILL_PROCESS));
        program.push(load(NUMBER_AT));
        program.search(&ranges, 0, ranges.count, restricted);
        program
    }

    pub(super) fn instructions(&self) -> &[sock_filter] {
        &self.instructions[..self.length]
    }

    const fn push(&mut self, instruction: sock_filter) {
        self.instructions[self.length] = instruction;
        self.length += 1;
    }

    /// Finds the range of the number at hand among those from `first` to before `last`.
    const fn search(&mut self, ranges: &Ranges, first: usize, last: usize, restricted: &'static [Restricted]) {
        if last - first == 1 {
            return match ranges.verdicts[first] {
                Verdict::Refused => self.push(answer(REFUSED)),
                Verdict::Allowed => self.push(answer(SECCOMP_RET_ALLOW)),
                Verdict::Missing => self.push(answer(MISSING)),
                Verdict::Restricted(index) => self.test_arguments(&restricted[index as usize]),
            };
        }
        let middle = usize::midpoint(first, last);
        let start = ranges.starts[middle];
        // A conditional jump reaches 255 instructions, the other kind any: skipped below the middle, taken above it.
        self.push(instruction(BPF_JMP | BPF_JGE | BPF_K, 0, 1, start));
        let jump = self.length;
        self.push(instruction(BPF_JMP | BPF_JA, 0, 0, 0));
        self.search(ranges, first, middle, restricted);
        self.instructions[jump].k = (self.length - jump - 1) as u32;
        self.search(ranges, middle, last, restricted);
    }

    /// Allows where all tests of an alternative pass.
    const fn test_arguments(&mut self, restricted: &Restricted) {
        let mut index = 0;
        while index < restricted.alternatives.len() {
            let tests = restricted.alternatives[index];
            let end = self.length + length_of(tests);
            let mut each = 0;
            while each < tests.len() {
                self.test(tests[each], end + 1);
                each += 1;
            }
            self.push(answer(SECCOMP_RET_ALLOW));
            index += 1;
        }
        self.push(answer(REFUSED));
    }

    /// Goes on where the test passes, else to the instruction at `otherwise`.
    const fn test(&mut self, test: Test, otherwise: usize) {
        match test {
            Test::Is { argument, value } => {
                self.push(load(low(argument)));
                self.compare(BPF_JEQ, value, true, otherwise);
            }
            Test::IsNot { argument, value } => {
                self.push(load(low(argument)));
                self.compare(BPF_JEQ, value, false, otherwise);
            }
            Test::HasNone { argument, bits } => {
                self.push(load(low(argument)));
                self.compare(BPF_JSET, bits, false, otherwise);
            }
            Test::HasOnly { argument, mask, value } => {
                self.push(load(low(argument)));
                self.push(instruction(BPF_ALU | BPF_AND | BPF_K, 0, 0, mask));
                self.compare(BPF_JEQ, value, true, otherwise);
            }
            Test::IsNull { argument } => {
                self.push(load(low(argument)));
                self.compare(BPF_JEQ, 0, true, otherwise);
                self.push(load(low(argument) + size_of::<u32>() as u32));
                self.compare(BPF_JEQ, 0, true, otherwise);
            }
        }
    }

    /// Goes on where the accumulator, compared with `value`, gives what is wanted.
    const fn compare(&mut self, how: u32, value: u32, wanted: bool, otherwise: usize) {
        let away = otherwise - self.length - 1;
        assert!(away <= u8::MAX as usize);
        let (if_true, if_false) = if wanted { (0, away as u8) } else { (away as u8, 0) };
        self.push(instruction(BPF_JMP | how | BPF_K, if_true, if_false, value));
    }
}

/// Runs of numbers with one verdict; the last has no end.
struct Ranges {
    starts: [u32; NUMBERS],
    verdicts: [Verdict; NUMBERS],
    count: usize,
}

impl Ranges {
    const fn new(table: &[Verdict; NUMBERS]) -> Self {
        let mut ranges = Self { starts: [0; NUMBERS], verdicts: [table[0]; NUMBERS], count: 1 };
        let mut number = 1;
        while number < NUMBERS {
            if !table[number].is(table[number - 1]) {
                ranges.starts[ranges.count] = number as u32;
                ranges.verdicts[ranges.count] = table[number];
                ranges.count += 1;
            }
            number += 1;
        }
        ranges
    }
}

const fn verdicts(lists: &[&[Group]], restricted: &'static [Restricted], missing: &[c_long]) -> [Verdict; NUMBERS] {
    let mut table = [Verdict::Refused; NUMBERS];
    let mut list = 0;
    while list < lists.len() {
        let mut group = 0;
        while group < lists[list].len() {
            fill(&mut table, lists[list][group].calls, Verdict::Allowed);
            group += 1;
        }
        list += 1;
    }
    let mut index = 0;
    while index < restricted.len() {
        fill(&mut table, &[restricted[index].call], Verdict::Restricted(index as u8));
        index += 1;
    }
    fill(&mut table, missing, Verdict::Missing);
    // The last range has no end, and nobody has listed what is beyond.
    assert!(table[NUMBERS - 1].is(Verdict::Refused));
    table
}

const fn fill(table: &mut [Verdict; NUMBERS], calls: &[c_long], verdict: Verdict) {
    let mut index = 0;
    while index < calls.len() {
        assert!(table[calls[index] as usize].is(Verdict::Refused), "a call is listed twice");
        table[calls[index] as usize] = verdict;
        index += 1;
    }
}

const fn length_of(tests: &[Test]) -> usize {
    let (mut length, mut index) = (0, 0);
    while index < tests.len() {
        length += match tests[index] {
            Test::Is { .. } | Test::IsNot { .. } | Test::HasNone { .. } => 2,
            Test::HasOnly { .. } => 3,
            Test::IsNull { .. } => 4,
        };
        index += 1;
    }
    length
}

/// Where the lower half of an argument lies.
const fn low(argument: u8) -> u32 {
    ARGUMENTS_AT + 8 * argument as u32
}

const fn load(at: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, at)
}

const fn answer(value: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, value)
}

const fn instruction(code: u32, if_true: u8, if_false: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: if_true, jf: if_false, k }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
