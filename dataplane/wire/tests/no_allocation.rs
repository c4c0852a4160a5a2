//! Nothing that a packet passes through allocates: counted by the allocator of this test's thread.

use crosspoint_wire::continuity::Continuity;
use crosspoint_wire::ice_checks::{Candidate, Checks, PACE, Role};
use crosspoint_wire::ice_lite::{Credentials, IceLite};
use crosspoint_wire::reception::Reception;
use crosspoint_wire::rtp::RtpHeader;
use crosspoint_wire::srtp::{MasterKey, OVERHEAD_BYTES_MAX, SrtpReceiver, SrtpSender, Suite};
use crosspoint_wire::telephone_event::{DigitListener, DigitSender};
use crosspoint_wire::{Nanos, rtcp, stun};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system allocator unchanged; counting touches a thread-local without a destructor,
// which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `System.alloc` with this `layout`, as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_in(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn the_allocator_counts() {
    assert!(allocations_in(|| drop(std::hint::black_box(vec![1, 2, 3]))) > 0);
}

#[test]
fn media_and_reports_do_not_allocate() {
    for suite in [
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ] {
        let key = MasterKey::new(suite, &[1; 32][..suite.key_bytes()], &[2; 14][..suite.salt_bytes()]).unwrap();
        let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
        let (mut continuity, mut reception) = (Continuity::new(1, 1, 1), Reception::new());
        let (mut listener, mut digits) = (DigitListener::new(), DigitSender::new(8000));
        let mut buffer = [0; 400];
        let counted = allocations_in(|| {
            for i in 0..2000u32 {
                // Sequence numbers go round once, and the source changes now and then.
                let (seq, now) = ((i * 49) as u16, Nanos::from_millis(20 * u64::from(i)));
                RtpHeader::new(101, false, seq, i * 960, 7).write(&mut buffer);
                let len = sender.protect_rtp(&mut buffer, 172).unwrap();
                let len = receiver.unprotect_rtp(&mut buffer[..len]).unwrap();
                buffer[len - 1] ^= 1;
                assert!(receiver.unprotect_rtp(&mut buffer[..len]).is_err());
                let header = RtpHeader::parse(&buffer[..len]).unwrap();
                reception.on_packet(seq, header.timestamp, now, 48_000);
                continuity.map(i / 500, seq, header.timestamp, false, now, 48_000);
                listener.on_packet(&header, header.payload(&buffer[..len]));
                digits.queue("1");
                while digits.next(now, continuity.timestamp_at(now, 8000)).is_some() {
                    continuity.reserve();
                }
                let blocks = [reception.report_block(7, now)];
                let len = rtcp::write_report(&mut buffer, 1, None, &blocks, "cname").unwrap();
                let len = sender.protect_rtcp(&mut buffer[..len + OVERHEAD_BYTES_MAX], len).unwrap();
                let len = receiver.unprotect_rtcp(&mut buffer[..len]).unwrap();
                assert_eq!(rtcp::parse(&buffer[..len]).unwrap().count(), 2);
            }
        });
        assert_eq!(counted, 0, "{suite:?}");
    }
}

#[test]
fn checks_of_our_own_do_not_allocate() {
    let peer = IceLite::new(Credentials { ufrag: "them".into(), pwd: "0123456789012345678901".into() });
    let role = Role { controlling: true, tie_breaker: 1 };
    let theirs = Credentials { ufrag: "them".into(), pwd: "0123456789012345678901".into() };
    let mut checks = Checks::new(role, theirs, &[1; 32]);
    let (mut request, mut reply) = ([0; stun::MESSAGE_BYTES_MAX], [0; stun::MESSAGE_BYTES_MAX]);
    let counted = allocations_in(|| {
        for port in 1..10u16 {
            checks.add(Candidate { component: 0, addr: ([192, 0, 2, 1], port).into(), priority: u32::from(port) });
        }
        let mut now = Nanos::from_secs(1);
        for _ in 0..100 {
            now += PACE;
            let Some(sent) = checks.poll(now, "us", &mut request) else { continue };
            let message = stun::Message::parse(&request[..sent.len]).unwrap();
            let len = peer.handle(([192, 0, 2, 2], 9).into(), &message, None, &mut reply).reply_len;
            let answer = stun::Message::parse(&reply[..len]).unwrap();
            checks.hear_answer(0, sent.addr, &answer, now).expect("a good answer");
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn checks_do_not_allocate() {
    let mut ice = IceLite::new(Credentials { ufrag: "us".into(), pwd: "0123456789012345678901".into() });
    let (mut request, mut reply) = ([0; stun::MESSAGE_BYTES_MAX], [0; stun::MESSAGE_BYTES_MAX]);
    let check = stun::BindingRequest {
        remote_ufrag: "us",
        local_ufrag: "them",
        priority: 1,
        tie_breaker: 1,
        controlling: true,
        use_candidate: true,
    };
    let counted = allocations_in(|| {
        for port in 1..100u16 {
            let source = ([192, 0, 2, 1], port).into();
            let len = stun::write_binding_request(&mut request, &[1; 12], &check, b"0123456789012345678901").unwrap();
            let message = stun::Message::parse(&request[..len]).unwrap();
            ice.note(Nanos::ZERO, ice.handle(source, &message, None, &mut reply).check.expect("a good check"));
            assert_eq!(ice.in_use(), Some(source));
        }
    });
    assert_eq!(counted, 0);
}
