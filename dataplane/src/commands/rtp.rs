//! Orders for legs with ports of their own, and for those that translate.
//!
//! Input and output as for all orders. The ports are opened and closed here, with the worker's io.

use super::{Desk, Result, refused};
use crate::io::{PortId, PortRefused};
use crate::leg::relay::NOBODY;
use crate::leg::{Leg, LegHandle, Part, RtpChange};
use crate::queues::{Answered, Spent, StreamSheet};
use crosspoint_contract::{Refused, StreamReport};
use crosspoint_wire::Nanos;
use std::net::SocketAddr;

impl Desk<'_> {
    pub(super) fn open_ports(&mut self, leg: &mut Leg) -> Result<()> {
        let slot = leg.slot;
        let Some(ports) = &mut leg.ports else { return Ok(()) };
        for (component, port) in ports.each() {
            port.port = self.io.open_port(&port.spec).map_err(|refused| port_refused(refused, port.local))?;
            if !self.legs.insert_port(port.port, port.local, slot, component) {
                return Err(Refused::LegsExhausted);
            }
        }
        Ok(())
    }

    /// What was not opened is not closed.
    pub(super) fn close_ports(&mut self, leg: &mut Leg) {
        let Some(ports) = &mut leg.ports else { return };
        for (_, port) in ports.each().filter(|(_, port)| port.port != PortId::SHARED) {
            self.legs.remove_port(port.port, port.local);
            self.io.close_port(port.port);
        }
    }

    pub(super) fn describe_rtp(&mut self, handle: LegHandle, mut change: Box<RtpChange>) -> Answered {
        let now = self.now;
        let Some(leg) = self.legs.of(handle) else {
            return refused(Refused::UnknownLeg(handle.leg), Spent::RtpChange(change));
        };
        let before = leg.directions;
        change.apply(leg, now);
        self.checks.wake(leg, now);
        if let Some(ports) = &mut leg.ports {
            for (_, port) in ports.each().filter(|(_, port)| port.spec.tos != change.tos) {
                port.spec.tos = change.tos;
                self.io.mark_port(port.port, change.tos);
            }
        }
        self.legs.set_opaque(handle, change.is_opaque);
        if let Some(description) = change.description.take() {
            change.description = match self.apply_description(handle, description, before) {
                Ok(replaced) => replaced,
                Err(unused) => Some(unused),
            };
        }
        Answered { result: Ok(None), spent: Spent::RtpChange(change) }
    }

    /// The new sinks know whose packets they get, and those before do not any more.
    pub(super) fn forward(&mut self, source: LegHandle, sinks: Box<[LegHandle]>) -> Answered {
        let relay = self.known(source).and_then(|leg| leg.part.relay_mut().ok_or(Refused::UnsuitedLeg(leg.id)));
        let replaced = match relay {
            Ok(relay) => {
                relay.forget_formats();
                std::mem::replace(&mut relay.sinks, sinks)
            }
            Err(why) => return refused(why, Spent::Sinks(sinks)),
        };
        for &sink in &replaced {
            if let Some(relay) = self.legs.of(sink).and_then(|leg| leg.part.relay_mut())
                && relay.source == source
            {
                relay.source = NOBODY;
            }
        }
        for at in 0.. {
            let sink = self.legs.named(source).and_then(|leg| leg.part.relay()?.sinks.get(at).copied());
            let Some(sink) = sink else { break };
            if let Some(relay) = self.legs.of(sink).and_then(|leg| leg.part.relay_mut()) {
                relay.source = source;
            }
        }
        Answered { result: Ok(None), spent: Spent::Sinks(replaced) }
    }

    pub(super) fn read_streams(&mut self, handle: LegHandle, mut sheet: Box<StreamSheet>) -> Answered {
        let now = self.now;
        match self.known(handle).map(|leg| fill_in(&mut sheet, leg, now)) {
            Ok(()) => Answered { result: Ok(None), spent: Spent::Streams(sheet) },
            Err(why) => refused(why, Spent::Streams(sheet)),
        }
    }
}

fn fill_in(sheet: &mut StreamSheet, leg: &Leg, now: Nanos) {
    match &leg.part {
        Part::Translator(relay) => {
            relay.streams.iter().filter(|stream| stream.packets > 0).for_each(|stream| sheet.push(stream.report(now)));
        }
        Part::End(session) => {
            for stream in session.streams.iter().filter(|stream| stream.in_use) {
                let figures = stream.reception.figures();
                sheet.push(StreamReport {
                    ssrc: stream.ssrc,
                    packets: figures.packets_received,
                    packets_lost: figures.packets_lost,
                    jitter_us: figures.jitter_us,
                    idle_ms: u32::try_from(now.since(stream.last_heard).as_millis()).unwrap_or(u32::MAX),
                    ..StreamReport::default()
                });
            }
        }
    }
}

fn port_refused(refused: PortRefused, addr: SocketAddr) -> Refused {
    match refused {
        PortRefused::Taken => Refused::PortTaken(addr),
        PortRefused::NoSuchAddress => Refused::NoSuchAddress(addr.ip()),
        PortRefused::Exhausted => Refused::LegsExhausted,
    }
}
