//! The sums of the inner loops stay in registers, and kernels call nobody. The compiler has put sums on the stack, and
//! left a vector operation behind a call because it stood in a closure, each without a word and each at half the speed;
//! nothing but the machine code tells.

use std::collections::HashMap;
use std::process::Command;

/// One instruction: its address and its text.
type Instruction<'a> = (u64, &'a str);

#[test]
fn no_inner_loop_keeps_vectors_on_the_stack() {
    let Some(listing) = disassembled() else { return };
    let (mut loops, mut of_bytes) = (0, 0);
    for function in kernels(&listing) {
        let name = function.lines().find(|line| line.ends_with(">:")).unwrap_or_default();
        // On Arm nobody runs the portable kernels: NEON is always there.
        if cfg!(target_arch = "aarch64") && name.contains("::portable::") {
            continue;
        }
        // Winograd's transforms have more numbers than there are registers, once for each patch.
        if name.contains("patch_kernel") || name.contains("sum_kernel") {
            continue;
        }
        let instructions: Vec<Instruction<'_>> = function.lines().filter_map(instruction).collect();
        for body in innermost_loops(&instructions) {
            if !body.iter().any(|(_, text)| MULTIPLIES.iter().any(|name| text.contains(name))) {
                continue;
            }
            loops += 1;
            of_bytes += usize::from(function.contains("byte_"));
            let offences: Vec<&Instruction<'_>> = body.iter().filter(|(_, text)| is_vector_on_stack(text)).collect();
            assert!(offences.is_empty(), "{name} {offences:x?}");
        }
    }
    // A handful of loops for each kernel; none found would mean that the listing was not understood.
    assert!(loops > 50 && of_bytes > 50, "only {loops} inner loops were found, {of_bytes} of them over bytes");
}

/// What inner loops multiply by: floats, then bytes.
const MULTIPLIES: [&str; 9] = ["fmadd", "fmla", "vpdpbusd", "vpdpwssd", "vpmaddwd", "sdot", "smmla", "smull", "smlal"];

/// The machine code of every kernel.
fn kernels(listing: &str) -> impl Iterator<Item = &str> {
    let is_kernel = |text: &&str| {
        ["kernel::set::", "kernel::bytes::set::", "kernel::bytes::pairs::"].iter().any(|module| text.contains(module))
    };
    listing.split("\n\n").filter(is_kernel)
}

/// This program's machine code; `None` where nothing can tell.
fn disassembled() -> Option<String> {
    let program = std::env::current_exe().unwrap();
    // Under emulation it is one of the machine that emulates, which knows the other's instructions.
    let objdump = std::env::var_os("MARGAY_TEST_OBJDUMP").unwrap_or_else(|| "objdump".into());
    let run = Command::new(objdump).args(["-d", "--no-show-raw-insn", "-C"]).arg(program).output();
    match run {
        Ok(run) if run.status.success() => Some(String::from_utf8_lossy(&run.stdout).into_owned()),
        _ => {
            println!("skipped: machine code: install objdump (binutils) for this machine's instructions");
            let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|value| value == "1");
            assert!(!required, "objdump is absent, and MARGAY_TEST_REQUIRE is 1");
            None
        }
    }
}

fn instruction(line: &str) -> Option<Instruction<'_>> {
    let (address, text) = line.split_once(":\t")?;
    Some((u64::from_str_radix(address.trim(), 16).ok()?, text))
}

/// Loops that hold no other: from the target of a jump backwards to the jump, where the one leads to the other. What is rare
/// stands behind the rest of a function, and jumps back to where that goes on.
fn innermost_loops<'a, 'b>(code: &'b [Instruction<'a>]) -> Vec<&'b [Instruction<'a>]> {
    let places: HashMap<u64, usize> = code.iter().enumerate().map(|(place, &(address, _))| (address, place)).collect();
    let jumps = code.iter().enumerate().filter_map(|(end, &(_, text))| {
        let start = *places.get(&jump_target(text)?)?;
        (start <= end && leads_to(&code[start..=end])).then_some((start, end))
    });
    let loops: Vec<(usize, usize)> = jumps.collect();
    let holds =
        |outer: (usize, usize), inner: (usize, usize)| outer != inner && outer.0 <= inner.0 && inner.1 <= outer.1;
    let innermost = loops.iter().filter(|&&outer| !loops.iter().any(|&inner| holds(outer, inner)));
    innermost.map(|&(start, end)| &code[start..=end]).collect()
}

/// Whether the first of these instructions leads to the last without a detour.
fn leads_to(body: &[Instruction<'_>]) -> bool {
    let places: HashMap<u64, usize> = body.iter().enumerate().map(|(place, &(address, _))| (address, place)).collect();
    let mut reached = vec![false; body.len()];
    reached[0] = true;
    // All ways but the jump back are forwards, or come from what is reached already.
    for place in 0..body.len() {
        let text = body[place].1;
        if !reached[place] {
            continue;
        }
        let target = jump_target(text).and_then(|target| places.get(&target));
        if let Some(&target) = target {
            reached[target] = true;
        }
        let always = ["jmp", "ret", "b\t", "b "].iter().any(|name| text.starts_with(name));
        if !always && place + 1 < body.len() {
            reached[place + 1] = true;
        }
    }
    reached[body.len() - 1]
}

/// Where a jump goes; `None` for other instructions.
fn jump_target(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let is_jump = words
        .next()
        .is_some_and(|name| name == "b" || ["j", "b.", "cb", "tb"].iter().any(|with| name.starts_with(with)));
    let target = words.find(|word| word.len() > 3 && word.chars().all(|digit| digit.is_ascii_hexdigit()))?;
    is_jump.then(|| u64::from_str_radix(target, 16).ok()).flatten()
}

fn is_vector_on_stack(text: &str) -> bool {
    // %rbp is a pointer like any other here.
    let is_on_stack = text.contains("(%rsp") || text.contains("[sp");
    is_on_stack && (text.contains("mm") || text.contains('q'))
}

/// A closure is compiled without the features of the function that it stands in.
#[test]
fn no_kernel_calls_a_function() {
    let Some(listing) = disassembled() else { return };
    for function in kernels(&listing) {
        let name = function.lines().find(|line| line.ends_with(">:")).unwrap_or_default();
        let is_kernel = name.contains("_kernel>") && !name.contains("core::");
        let is_call = |text: &str| (text.starts_with("call") || text.starts_with("bl\t")) && !text.contains("<mem");
        let call = function.lines().filter_map(instruction).find(|(_, text)| is_call(text));
        assert!(!is_kernel || call.is_none(), "{name} {call:x?}");
    }
}

#[test]
fn a_loop_that_stores_to_the_stack_is_noticed() {
    let listing = "  10:\tvmovups %zmm2,-0x48(%rsp)\n  20:\tvfmadd231ps %zmm1,%zmm2,%zmm3\n  30:\tjne    10 <f+0x10>\n";
    let padded = listing.replace("10", "1000").replace("20", "1020").replace("30", "1030");
    let code: Vec<Instruction<'_>> = padded.lines().filter_map(instruction).collect();
    let loops = innermost_loops(&code);
    assert_eq!(loops.len(), 1);
    assert!(is_vector_on_stack(loops[0][0].1) && !is_vector_on_stack(loops[0][1].1));
    assert!(!is_vector_on_stack("mov    %rax,0x10(%rsp)"));
}
