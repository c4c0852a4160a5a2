//! Counts what came back: loss, reordering, duplicates per flow, and how long it took.
//!
//! Input: sequence numbers as they arrive. Output: [`Totals`]. Owns a few words per flow. A packet is told by its SSRC (the
//! flow) and its sequence number (extended to 64 bits around the highest one heard), which every relay leaves alone.

/// How far back duplicates are told from late packets.
const WINDOW_PACKETS: u64 = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// Number of the first packet of this run.
    first: u64,
    /// One above the highest number heard.
    next: u64,
    /// Bit n: packet `next - 1 - n` was heard.
    heard: u64,
    received: u64,
    reordered: u64,
    duplicates: u64,
}

/// Over all flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub received: u64,
    pub reordered: u64,
    pub duplicates: u64,
    /// Flows that lost something, and the most that one lost.
    pub flows_with_loss: usize,
    pub loss_in_a_flow_max: u64,
    /// Flows of which nothing came.
    pub silent_flows: usize,
}

pub struct Tally {
    flows: Vec<Flow>,
}

impl Tally {
    /// `firsts`: number of the first packet that each flow will send.
    pub fn new(firsts: &[u64]) -> Tally {
        let flow = |first: &u64| Flow { first: *first, next: *first, ..Flow::default() };
        Tally { flows: firsts.iter().map(flow).collect() }
    }

    /// Notes a packet. Gives its number if it is new and belongs to this run.
    pub fn note(&mut self, flow: usize, sequence_number: u16) -> Option<u64> {
        let flow = &mut self.flows[flow];
        let ahead = sequence_number.wrapping_sub(flow.next as u16) as i16;
        let number = flow.next.checked_add_signed(i64::from(ahead)).filter(|number| *number >= flow.first)?;
        if number >= flow.next {
            let step = number + 1 - flow.next;
            flow.heard = if step < WINDOW_PACKETS { flow.heard << step | 1 } else { 1 };
            flow.next = number + 1;
        } else {
            let back = flow.next - 1 - number;
            let bit = if back < WINDOW_PACKETS { 1 << back } else { 0 };
            if flow.heard & bit != 0 {
                flow.duplicates += 1;
                return None;
            }
            flow.heard |= bit;
            flow.reordered += 1;
        }
        flow.received += 1;
        Some(number)
    }

    /// `sent`: packets of each flow that left.
    pub fn totals(&self, sent: &[u64]) -> Totals {
        let mut totals = Totals::default();
        for (flow, sent) in self.flows.iter().zip(sent) {
            let lost = sent.saturating_sub(flow.received);
            totals.received += flow.received;
            totals.reordered += flow.reordered;
            totals.duplicates += flow.duplicates;
            totals.flows_with_loss += usize::from(lost > 0);
            totals.loss_in_a_flow_max = totals.loss_in_a_flow_max.max(lost);
            totals.silent_flows += usize::from(flow.received == 0 && *sent > 0);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(numbers: &[u64]) -> Totals {
        let mut tally = Tally::new(&[65_530]);
        for number in numbers {
            tally.note(0, *number as u16);
        }
        tally.totals(&[10])
    }

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart_across_a_sequence_wrap() {
        let clean = heard(&(65_530..65_540).collect::<Vec<_>>());
        assert_eq!(clean, Totals { received: 10, ..Totals::default() });
        let lossy = heard(&[65_530, 65_533, 65_539]);
        assert_eq!((lossy.received, lossy.flows_with_loss, lossy.loss_in_a_flow_max), (3, 1, 7));
        let shuffled = heard(&[65_531, 65_530, 65_532, 65_532, 65_530]);
        assert_eq!((shuffled.received, shuffled.reordered, shuffled.duplicates), (3, 1, 2));
    }

    #[test]
    fn packets_of_an_earlier_run_are_not_counted() {
        let late = heard(&[65_529, 65_530]);
        assert_eq!((late.received, late.duplicates), (1, 0));
    }

    #[test]
    fn a_flow_of_which_nothing_came_is_silent() {
        assert_eq!(heard(&[]).silent_flows, 1);
    }
}
