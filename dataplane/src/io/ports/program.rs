//! The program that the kernel runs for each datagram that no connected socket gets, instruction by instruction.
//!
//! Input: the addresses that ports live on, and descriptors of two maps. Output: BPF instructions for a program of type
//! `sk_lookup`. Owns nothing. Does not load itself: see [`super::steering`].
//!
//! ```text
//!   table     one value: 65,536 bytes for each address, in the order of the addresses. The byte of a port is 0, or the
//!             number of the worker that has it, plus one
//!   sockets   worker * 2 for IPv4, worker * 2 + 1 for IPv6: the socket that the worker receives on
//! ```
//!
//! Assembled by hand because it is thirty instructions: a crate such as `aya` loads object files, which somebody would have
//! to build with a second compiler and a linker of its own; and the addresses would be one more map to look up, while here
//! they are constants of the program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `struct bpf_insn` of `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    /// Destination in the lower half, source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// The parts of an operation code, by the names of RFC 9669.
mod code {
    pub const LDX_MEM_W: u8 = 0x61;
    pub const LDX_MEM_B: u8 = 0x71;
    pub const STX_MEM_W: u8 = 0x63;
    pub const LD_IMM_DW: u8 = 0x18;
    pub const ALU64_ADD_K: u8 = 0x07;
    pub const ALU64_ADD_X: u8 = 0x0f;
    pub const ALU64_MOV_K: u8 = 0xb7;
    pub const ALU64_MOV_X: u8 = 0xbf;
    pub const ALU_AND_K: u8 = 0x54;
    pub const ALU_SUB_K: u8 = 0x14;
    pub const ALU_LSH_K: u8 = 0x64;
    pub const ALU_OR_X: u8 = 0x4c;
    pub const JMP_JA: u8 = 0x05;
    pub const JMP_JEQ_K: u8 = 0x15;
    pub const JMP32_JEQ_K: u8 = 0x16;
    pub const JMP32_JNE_K: u8 = 0x56;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
}

/// What a wide load of a constant means, in its source register.
const MAP_BY_FD: u8 = 1;
const MAP_VALUE: u8 = 2;

/// Functions of the kernel, by their numbers in `linux/bpf.h`.
const MAP_LOOKUP_ELEM: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

/// `SK_PASS`: go on, with the assigned socket or the ordinary search.
const PASS: i32 = 1;

/// Offsets in `struct bpf_sk_lookup`. Addresses are in network order, the port is a number.
mod context {
    pub const FAMILY: i16 = 8;
    pub const PROTOCOL: i16 = 12;
    pub const LOCAL_IP4: i16 = 40;
    pub const LOCAL_IP6: i16 = 44;
    pub const LOCAL_PORT: i16 = 60;
}

/// Where a jump goes; the distance is known when all is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Ipv6,
    Found,
    Pass,
}

#[derive(Default)]
struct Assembler {
    instructions: Vec<Instruction>,
    /// Jumps by their position, and where they go.
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    fn put(&mut self, code: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        let registers = source << 4 | destination;
        self.instructions.push(Instruction { code, registers, offset, immediate });
    }

    /// A constant of 64 bits takes two instructions; ours are descriptors of maps.
    fn put_map(&mut self, destination: u8, meaning: u8, map: i32) {
        self.put(code::LD_IMM_DW, destination, meaning, 0, map);
        self.put(0, 0, 0, 0, 0);
    }

    fn jump(&mut self, code: u8, register: u8, immediate: i32, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.put(code, register, 0, 0, immediate);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    /// Writes the distances, counted from the instruction after the jump.
    fn finish(mut self) -> Vec<Instruction> {
        for (position, to) in self.jumps {
            let target = self.labels.iter().find(|(label, _)| *label == to).expect("every label is set").1;
            self.instructions[position].offset = (target as i16) - (position as i16) - 1;
        }
        self.instructions
    }
}

/// The program for these addresses.
pub(super) fn assemble(addrs: &[IpAddr], table: i32, sockets: i32) -> Vec<Instruction> {
    let mut to = Assembler::default();
    // r6: the context, which calls would lose in r1.
    to.put(code::ALU64_MOV_X, 6, 1, 0, 0);
    // Only UDP is ours.
    to.put(code::LDX_MEM_W, 1, 6, context::PROTOCOL, 0);
    to.jump(code::JMP32_JNE_K, 1, libc::IPPROTO_UDP, Label::Pass);
    // r7: the port. It has 16 bits; the verifier wants to see that.
    to.put(code::LDX_MEM_W, 7, 6, context::LOCAL_PORT, 0);
    to.put(code::ALU_AND_K, 7, 0, 0, 0xffff);
    to.put(code::LDX_MEM_W, 1, 6, context::FAMILY, 0);
    to.jump(code::JMP32_JEQ_K, 1, libc::AF_INET6, Label::Ipv6);
    find_ipv4(&mut to, addrs);
    to.label(Label::Ipv6);
    find_ipv6(&mut to, addrs);
    to.label(Label::Found);
    assign(&mut to, table, sockets);
    to.label(Label::Pass);
    to.put(code::ALU64_MOV_K, 0, 0, 0, PASS);
    to.put(code::EXIT, 0, 0, 0, 0);
    to.finish()
}

/// r8: where the address's ports begin in the table; r9: 0.
fn find_ipv4(to: &mut Assembler, addrs: &[IpAddr]) {
    to.put(code::ALU64_MOV_K, 9, 0, 0, 0);
    to.put(code::LDX_MEM_W, 1, 6, context::LOCAL_IP4, 0);
    for (index, addr) in addrs.iter().enumerate() {
        if let IpAddr::V4(addr) = addr {
            to.put(code::ALU64_MOV_K, 8, 0, 0, first_port(index));
            to.jump(code::JMP32_JEQ_K, 1, word(*addr), Label::Found);
        }
    }
    to.jump(code::JMP_JA, 0, 0, Label::Pass);
}

/// r8: where the address's ports begin in the table; r9: 1.
fn find_ipv6(to: &mut Assembler, addrs: &[IpAddr]) {
    to.put(code::ALU64_MOV_K, 9, 0, 0, 1);
    for word in 0..4 {
        to.put(code::LDX_MEM_W, 1 + word, 6, context::LOCAL_IP6 + 4 * i16::from(word), 0);
    }
    for (index, addr) in addrs.iter().enumerate() {
        if let IpAddr::V6(addr) = addr {
            let [first, second, third, fourth] = words(*addr);
            // A word that differs: over what is left of this address.
            to.put(code::JMP32_JNE_K, 1, 0, 5, first);
            to.put(code::JMP32_JNE_K, 2, 0, 4, second);
            to.put(code::JMP32_JNE_K, 3, 0, 3, third);
            to.put(code::JMP32_JNE_K, 4, 0, 2, fourth);
            to.put(code::ALU64_MOV_K, 8, 0, 0, first_port(index));
            to.jump(code::JMP_JA, 0, 0, Label::Found);
        }
    }
    to.jump(code::JMP_JA, 0, 0, Label::Pass);
}

fn assign(to: &mut Assembler, table: i32, sockets: i32) {
    // r1: the byte of this address and port; none has it if it is 0.
    to.put_map(1, MAP_VALUE, table);
    to.put(code::ALU64_ADD_X, 8, 7, 0, 0);
    to.put(code::ALU64_ADD_X, 1, 8, 0, 0);
    to.put(code::LDX_MEM_B, 1, 1, 0, 0);
    to.jump(code::JMP_JEQ_K, 1, 0, Label::Pass);
    // The key, on the stack: (byte - 1) * 2, and 1 more for IPv6.
    to.put(code::ALU_SUB_K, 1, 0, 0, 1);
    to.put(code::ALU_LSH_K, 1, 0, 0, 1);
    to.put(code::ALU_OR_X, 1, 9, 0, 0);
    to.put(code::STX_MEM_W, 10, 1, -4, 0);
    // r7: the worker's socket, on which we hold a reference from here on.
    to.put_map(1, MAP_BY_FD, sockets);
    to.put(code::ALU64_MOV_X, 2, 10, 0, 0);
    to.put(code::ALU64_ADD_K, 2, 0, 0, -4);
    to.put(code::CALL, 0, 0, 0, MAP_LOOKUP_ELEM);
    to.jump(code::JMP_JEQ_K, 0, 0, Label::Pass);
    to.put(code::ALU64_MOV_X, 7, 0, 0, 0);
    // sk_assign(context, socket, no flags): it fails if another program has chosen a socket before us, and then that holds.
    to.put(code::ALU64_MOV_X, 1, 6, 0, 0);
    to.put(code::ALU64_MOV_X, 2, 7, 0, 0);
    to.put(code::ALU64_MOV_K, 3, 0, 0, 0);
    to.put(code::CALL, 0, 0, 0, SK_ASSIGN);
    to.put(code::ALU64_MOV_X, 1, 7, 0, 0);
    to.put(code::CALL, 0, 0, 0, SK_RELEASE);
}

/// Of the address with this index, in the table.
fn first_port(index: usize) -> i32 {
    (index << 16) as i32
}

/// As the kernel sees four bytes of network order.
fn word(addr: Ipv4Addr) -> i32 {
    i32::from_ne_bytes(addr.octets())
}

fn words(addr: Ipv6Addr) -> [i32; 4] {
    let octets = addr.octets();
    std::array::from_fn(|i| i32::from_ne_bytes(std::array::from_fn(|byte| octets[4 * i + byte])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_lands_inside_the_program() {
        let addrs: Vec<IpAddr> = (0..16)
            .map(|n| if n % 2 == 0 { Ipv4Addr::new(192, 0, 2, n).into() } else { Ipv6Addr::from(u128::from(n)).into() })
            .collect();
        let program = assemble(&addrs, 3, 4);
        let is_jump = |code: u8| matches!(code & 7, 5 | 6) && code != code::CALL && code != code::EXIT;
        for (position, instruction) in program.iter().enumerate().filter(|(_, one)| is_jump(one.code)) {
            let target = position as i16 + 1 + instruction.offset;
            assert!((target as usize) > position && (target as usize) < program.len(), "{position}: {instruction:?}");
        }
    }

    #[test]
    fn addresses_are_compared_in_network_order() {
        assert_eq!(word(Ipv4Addr::new(127, 0, 0, 1)).to_ne_bytes(), [127, 0, 0, 1]);
        assert_eq!(words(Ipv6Addr::LOCALHOST).map(i32::to_ne_bytes)[3], [0, 0, 0, 1]);
    }
}
