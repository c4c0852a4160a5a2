//! Keeps a dataplane at the other end of the link: attaches to one that runs, starts one where that is our task, and
//! says in the log and to the core when one ended.
//!
//! ```text
//!   attach to the socket --ok--> pump until the link ends --> told DataplaneDetached --+
//!        ^    | nobody there                                                           |
//!        |    +--> told DataplaneLost (if one was attached) --> start a child, wait ---+
//!        +-----------------------------------------------------------------------------+
//! ```
//!
//! A child that ends by itself before any dataplane was attached cannot work with what it was given: the server ends with
//! its cause. Later ends are met by starting it again, with a pause that grows while its lives are short.
//!
//! One that takes connections and answers nothing is killed, if we are to start it: it cannot be told to hang up, so its
//! calls are lost already.
//!
//! The child gets a process group of its own: neither Ctrl-C in our terminal nor our own death ends it, so calls go on
//! and the next control plane attaches. An orderly end of ours ends it: by the contract's `ShutDown`, without a link by
//! SIGTERM, and if it does neither in time by SIGKILL. That interrupts whatever the keeper does; it leaves no child.

use super::dataplane_ears::Ears;
use super::dataplane_link::{Attachment, EndAsked, EndTold, GOODBYE_MAX, LinkError, LinkRequest, Patience, PumpEnd};
use super::fault::Fault;
use super::settings::{IoBackend, Settings};
use crosspoint_contract::{DataplaneHello, Generation};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// Between two looks for a dataplane that somebody else starts: a late one is attached at once.
const ATTACH_POLL: Duration = Duration::from_millis(200);
/// A child that lived this long had a good start: the next back-off begins small again.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// A started child opens its socket within this; later it is complained about.
const START_MAX: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(10);
/// Between the end of the link and the end of its process.
const EXIT_MAX: Duration = Duration::from_millis(500);
/// A dataplane that is met with this many silent attempts in a row will not speak any more.
const MUTES_MAX: u32 = 2;
/// Of a dataplane that is replaced, from the request to the end of the link.
const REPLACED_GOODBYE_MAX: Duration = Duration::from_secs(3);
/// From the end of the link, or from SIGTERM, to the end of the process; afterwards it is killed.
const LEAVE_MAX: Duration = Duration::from_millis(500);
/// From SIGKILL until the kernel has done with the process.
const KILL_MAX: Duration = Duration::from_millis(500);
/// From the request to end until no dataplane of ours is left, whatever it does.
pub const END_MAX: Duration = GOODBYE_MAX.saturating_add(LEAVE_MAX).saturating_add(KILL_MAX);
/// Between the end of the link to a dataplane that was replaced and the end of its process, whose ports we want.
const REPLACED_END_MAX: Duration = Duration::from_secs(1);
/// How long the ports of a dataplane that we ended may still be taken.
const ROOM_MAX: Duration = Duration::from_secs(5);
/// Of the cause that a child gives on its standard output.
const CAUSE_BYTES_MAX: u64 = 4096;

/// What is known of the dataplane, for `/healthz`, `/metrics` and the start banner.
#[derive(Clone, Debug, Default)]
pub struct LinkState {
    pub attached: Option<DataplaneHello>,
    /// Dataplanes that ended while we were attached.
    pub lost: u64,
    /// Why there is none at the moment.
    pub trouble: Option<String>,
}

/// How to start a dataplane. One that ends by a fault of its surroundings writes the cause to its standard output.
#[derive(Clone, Debug)]
pub struct ChildPlan {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// What the keeper works with.
#[derive(Debug)]
pub struct Keeper {
    pub socket: PathBuf,
    /// `None`: somebody else starts the dataplane.
    pub plan: Option<ChildPlan>,
    pub settings: Settings,
    pub generation: Generation,
    pub patience: Patience,
    pub requests: mpsc::Receiver<LinkRequest>,
    pub end: EndAsked,
    pub ears: Ears,
    pub state: watch::Sender<LinkState>,
    /// Told why the first child ended by itself; then we end too.
    pub not_started: Option<oneshot::Sender<NotStarted>>,
}

/// The first dataplane could not be started; all else would be in vain.
#[derive(Debug)]
pub enum NotStarted {
    /// Our program could not be run.
    NotRun(io::Error),
    /// It ended by itself, with this cause.
    Ended(String),
}

impl NotStarted {
    /// `given`: the settings it was started with.
    pub fn into_fault(self, given: String) -> Fault {
        match self {
            NotStarted::NotRun(source) => Fault::SpawnDataplane { source },
            NotStarted::Ended(why) => Fault::DataplaneNotStarted { why, given },
        }
    }
}

/// Where the keeper is in its circle.
struct Circle {
    child: Option<(Child, Instant)>,
    attachments: u64,
    was_attached: bool,
    /// The process of the last attachment. It is our child unless a server before us started it.
    attached_process: Option<u32>,
    back_off: Duration,
    /// Whether the last child ended soon after its start.
    lived_shortly: bool,
    /// Attempts to attach in a row that were met with silence.
    mutes: u32,
    /// Whether one of other settings was ended. Once is enough: if its successor differs too, we would do it for ever.
    replaced: bool,
    /// When we last ended one that stood where ours is to be. The kernel takes its ports back a moment after its end.
    made_room: Option<Instant>,
}

impl Default for Circle {
    fn default() -> Circle {
        let back_off = BACK_OFF_MIN;
        Circle {
            child: None,
            attachments: 0,
            was_attached: false,
            attached_process: None,
            back_off,
            lived_shortly: false,
            mutes: 0,
            replaced: false,
            made_room: None,
        }
    }
}

impl Circle {
    /// Whether a child that ends by itself now has itself to blame: nothing was attached yet, and nobody else's leavings
    /// may have been in its way.
    fn is_first_start(&self) -> bool {
        self.attachments == 0 && self.made_room.is_none_or(|since| since.elapsed() >= ROOM_MAX)
    }
}

impl Keeper {
    /// Runs until it is told to shut down, or the first child ends by itself.
    pub async fn run(mut self) {
        let mut circle = Circle::default();
        match self.go_round(&mut circle).await {
            Ok(told) => {
                end(circle).await;
                let _ = told.send(());
            }
            Err(why) => drop(self.not_started.take().map(|not_started| not_started.send(why))),
        }
    }

    async fn go_round(&mut self, circle: &mut Circle) -> Result<EndTold, NotStarted> {
        // Taken out, because it is awaited while all else of the keeper is at work.
        let mut asked = std::mem::replace(&mut self.end, EndAsked(mpsc::channel(1).1));
        loop {
            let attachment = tokio::select! {
                biased;
                told = asked.next() => {
                    terminate(circle);
                    return Ok(told);
                }
                attachment = self.reach(circle) => attachment?,
            };
            circle.attachments += 1;
            circle.was_attached = true;
            circle.attached_process = Some(attachment.hello.process_id);
            circle.mutes = 0;
            if let Some(told) = self.attend(attachment, circle.attachments, &mut asked).await {
                return Ok(told);
            }
        }
    }

    /// Until there is a dataplane that may stay. May be dropped at any moment.
    async fn reach(&mut self, circle: &mut Circle) -> Result<Attachment, NotStarted> {
        loop {
            match Attachment::open(&self.socket, self.generation, self.patience).await {
                Ok(attachment) if self.must_replace(circle, &attachment) => {
                    circle.replaced = true;
                    circle.attached_process = Some(attachment.hello.process_id);
                    self.replace(attachment).await;
                    circle.made_room = Some(Instant::now());
                }
                Ok(attachment) => return Ok(attachment),
                Err(error) => self.seek(circle, &error).await?,
            }
        }
    }

    /// One step towards a dataplane after an attempt to attach has failed.
    async fn seek(&mut self, circle: &mut Circle, error: &LinkError) -> Result<(), NotStarted> {
        let nobody_there = is_nobody_there(error);
        if let LinkError::Mute { process_id } = error {
            self.kill_mute(circle, *process_id);
        }
        // A link that broke ends a moment before its process does.
        let patience = if nobody_there && !circle.was_attached { Duration::ZERO } else { EXIT_MAX };
        let ended = exit_of(circle, patience).await;
        let why = ended.as_ref().map_or_else(|| format!("cannot reach it: {error}"), |exit| exit.why.clone());
        if let Some(exit) = ended.as_ref().filter(|exit| exit.by_itself && circle.is_first_start()) {
            return Err(NotStarted::Ended(exit.why.clone()));
        }
        if circle.was_attached && (ended.is_some() || nobody_there) {
            circle.was_attached = false;
            self.lost(&why).await;
        } else if ended.is_some() {
            self.state.send_modify(|state| state.trouble = Some(why.clone()));
            tracing::error!(kind = "dataplane_not_started", why, "trying again");
        }
        match (self.plan.clone(), &circle.child) {
            (Some(_), Some((_, since))) if nobody_there && since.elapsed() < START_MAX => self.pause(START_POLL).await,
            (Some(plan), None) if nobody_there => self.start(circle, &plan).await?,
            (Some(_), _) => {
                self.complain(&why);
                self.back_off(circle).await;
            }
            (None, _) => {
                self.complain(&why);
                self.pause(ATTACH_POLL).await;
            }
        }
        Ok(())
    }

    /// A child, after a pause if the one before had a short life.
    async fn start(&mut self, circle: &mut Circle, plan: &ChildPlan) -> Result<(), NotStarted> {
        if std::mem::take(&mut circle.lived_shortly) {
            self.back_off(circle).await;
        } else {
            circle.back_off = BACK_OFF_MIN;
        }
        match spawn(plan) {
            Ok(child) => circle.child = Some((child, Instant::now())),
            Err(error) if circle.attachments == 0 => return Err(NotStarted::NotRun(error)),
            Err(error) => {
                circle.lived_shortly = true;
                let program = plan.program.display();
                tracing::error!(kind = "dataplane_not_started", %error, %program, "cannot start our own program again; was it moved?");
            }
        }
        self.pause(START_POLL).await;
        Ok(())
    }

    /// Ends a dataplane of ours that has kept silent twice. Its end shows in the next round.
    fn kill_mute(&self, circle: &mut Circle, process_id: Option<u32>) {
        circle.mutes += 1;
        if self.plan.is_none() || circle.mutes < MUTES_MAX {
            return;
        }
        circle.mutes = 0;
        let child = circle.child.as_ref().and_then(|(child, _)| child.id());
        let Some(process_id) = child.or(process_id).filter(|id| *id != std::process::id()) else { return };
        tracing::error!(
            kind = "dataplane_killed",
            process_id,
            "it does not answer; its calls end, it is started again"
        );
        circle.made_room = Some(Instant::now());
        if let Err(error) = signal(process_id, Signal::KILL) {
            tracing::error!(kind = "dataplane_not_killed", process_id, %error, "end it by hand: kill -9");
        }
    }

    async fn back_off(&mut self, circle: &mut Circle) {
        let pause = circle.back_off;
        circle.back_off = (pause * 2).min(BACK_OFF_MAX);
        self.pause(pause).await;
    }

    /// Pumps one attachment from its beginning to its end.
    async fn attend(&mut self, attachment: Attachment, number: u64, end: &mut EndAsked) -> Option<EndTold> {
        let hello = attachment.hello.clone();
        self.state.send_modify(|state| {
            state.trouble = None;
            state.attached = Some(hello);
        });
        let ended = attachment.pump(number, &mut self.requests, end, &self.ears).await;
        self.state.send_modify(|state| state.attached = None);
        match ended {
            PumpEnd::ShutDown(told) => Some(told),
            PumpEnd::Lost(error) => {
                if matches!(error, LinkError::Silent) {
                    tracing::warn!(kind = "dataplane_silent", "it stopped answering; attaching anew");
                }
                tracing::debug!(kind = "dataplane_link_ended", why = %error);
                self.ears.detached().await;
                None
            }
        }
    }

    /// A dataplane of other settings that carries nothing is ended and started anew; one that carries calls is kept.
    fn must_replace(&self, circle: &Circle, attachment: &Attachment) -> bool {
        if self.plan.is_none() {
            return false;
        }
        let Some(difference) = difference(&self.settings, &attachment.hello) else { return false };
        let legs = attachment.snapshot.legs.len();
        if legs > 0 || circle.replaced {
            tracing::warn!(kind = "dataplane_differs", %difference, legs, "it stays; it takes the settings when it is started again");
            return false;
        }
        tracing::info!(kind = "dataplane_differs", %difference, "it carries no calls, so it is started anew");
        true
    }

    async fn replace(&self, attachment: Attachment) {
        let process_id = attachment.hello.process_id;
        match timeout(REPLACED_GOODBYE_MAX, attachment.shut_down()).await {
            Ok(Ok(())) => drop(timeout(REPLACED_END_MAX, end_of_process(process_id)).await),
            Ok(Err(error)) => tracing::warn!(kind = "dataplane_replaced", why = %error),
            Err(_) => tracing::warn!(kind = "dataplane_replaced", "it does not end; trying again"),
        }
    }

    async fn lost(&self, why: &str) {
        let next = if self.plan.is_some() { "starting it again" } else { "waiting for whoever starts it" };
        tracing::error!(kind = "dataplane_ended", why, "its calls end; {next}");
        self.state.send_modify(|state| state.lost += 1);
        self.ears.lost(why).await;
    }

    /// Said once, until there is another reason.
    fn complain(&self, why: &str) {
        if self.state.borrow().trouble.as_deref() == Some(why) {
            return;
        }
        self.state.send_modify(|state| state.trouble = Some(why.to_owned()));
        let socket = self.socket.display();
        match &self.plan {
            Some(_) => tracing::warn!(kind = "dataplane_unreachable", why, %socket, "trying again"),
            None => tracing::warn!(
                kind = "dataplane_unreachable", why, %socket,
                "media.attach names this socket; is it running? systemctl status crosspoint-dataplane"
            ),
        }
    }

    /// Waits before the next attempt. Orders find no dataplane and are void.
    async fn pause(&mut self, pause: Duration) {
        let void = async { while self.requests.recv().await.is_some() {} };
        let _ = timeout(pause, void).await;
    }
}

/// Its standard output is ours: there a child says why it ends ([`ChildPlan`]). Nothing else is written to it, so that our
/// own end does it no harm.
fn spawn(plan: &ChildPlan) -> io::Result<Child> {
    let mut command = std::process::Command::new(&plan.program);
    command.args(&plan.arguments).env_remove("CROSSPOINT_CONFIG").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Command::from(command).spawn()
}

/// How a child ended.
struct Exit {
    why: String,
    /// With a status, not killed by a signal.
    by_itself: bool,
}

/// The end of a child, if it comes within `patience`; forgets the child then.
async fn exit_of(circle: &mut Circle, patience: Duration) -> Option<Exit> {
    let (child, since) = circle.child.as_mut()?;
    let life = since.elapsed();
    let status = timeout(patience, child.wait()).await.ok()?.ok()?;
    let output = child.stdout.take();
    circle.child = None;
    circle.lived_shortly = life < GOOD_LIFE;
    Some(Exit { why: describe(status, output).await, by_itself: status.code().is_some() })
}

/// The child's own word, or else its status.
async fn describe(status: ExitStatus, output: Option<ChildStdout>) -> String {
    let mut cause = Vec::new();
    if let Some(output) = output {
        // Its end closes the pipe, unless it has left a process of its own behind.
        let _ = timeout(EXIT_MAX, output.take(CAUSE_BYTES_MAX).read_to_end(&mut cause)).await;
    }
    match String::from_utf8_lossy(&cause).trim() {
        "" => format!("it ended with {status}"),
        cause => cause.to_owned(),
    }
}

async fn end_of_process(process_id: u32) {
    while process_id != 0 && runs(process_id) {
        tokio::time::sleep(START_POLL).await;
    }
}

/// Whose child it is does not matter, nor whether its parent ever takes its status: a zombie has given everything back
/// (proc_pid_stat(5); the name in parentheses may hold any character).
fn runs(process_id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

fn pid(process_id: u32) -> Option<Pid> {
    i32::try_from(process_id).ok().and_then(Pid::from_raw)
}

fn signal(process_id: u32, signal: Signal) -> io::Result<()> {
    pid(process_id).map_or(Ok(()), |process| kill_process(process, signal).map_err(io::Error::from))
}

/// Asks ours to end without a link to say so by.
fn terminate(circle: &Circle) {
    if let Some(process_id) = process_of(circle) {
        let _ = signal(process_id, Signal::TERM);
    }
}

/// The dataplane that is ours to end: the child, or one that a server before us started.
fn process_of(circle: &Circle) -> Option<u32> {
    let child = circle.child.as_ref().and_then(|(child, _)| child.id());
    let attached = circle.attached_process.filter(|id| circle.was_attached && *id != std::process::id());
    child.or(attached)
}

/// When it was asked to end: waits, kills, and takes its status, so that nothing of it is left.
async fn end(mut circle: Circle) {
    let Some(process_id) = process_of(&circle) else { return };
    if timeout(LEAVE_MAX, end_of_process(process_id)).await.is_err() {
        tracing::warn!(kind = "dataplane_killed", process_id, "it did not end when asked to");
        let _ = signal(process_id, Signal::KILL);
        let _ = timeout(KILL_MAX, end_of_process(process_id)).await;
    }
    if let Some((child, _)) = &mut circle.child {
        // It has ended, so this does not wait; one that even SIGKILL leaves in the kernel is left to it.
        let _ = child.try_wait();
    }
}

fn is_nobody_there(error: &LinkError) -> bool {
    matches!(error, LinkError::Io(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}

/// What a running dataplane does otherwise than these settings ask.
fn difference(settings: &Settings, hello: &DataplaneHello) -> Option<String> {
    let wanted = settings.workers_count();
    if hello.workers.len() != wanted {
        return Some(format!("it has {} workers, media.workers asks for {wanted}", hello.workers.len()));
    }
    let backend = settings.media_backend;
    if let Some(other) =
        hello.workers.iter().find(|worker| backend != IoBackend::Auto && worker.backend != backend.name())
    {
        return Some(format!("it works with {}, media.backend asks for {}", other.backend, backend.name()));
    }
    let address = settings.media_advertise.unwrap_or(settings.media_listen);
    hello.workers.iter().find_map(|worker| {
        let port = settings.media_port_base.wrapping_add(worker.worker.0);
        let same_ip = worker.addr.ip() == settings.media_listen || worker.addr.ip() == address;
        let same_port = settings.media_port_base == 0 || worker.addr.port() == port;
        (!same_ip || !same_port).then(|| format!("worker {} is at {}", worker.worker, worker.addr))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::settings::resolve;
    use crosspoint_contract::{Fingerprint, WorkerHello, WorkerId};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let flag = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, text)| (*text).to_owned());
        resolve(None, |_| None, flag).expect("accepted").settings()
    }

    fn hello(workers: u16, backend: &str) -> DataplaneHello {
        let worker = |worker| WorkerHello {
            worker: WorkerId(worker),
            addr: ([127, 0, 0, 1], 20000 + worker).into(),
            backend: backend.into(),
            backend_reason: String::new(),
            core: None,
        };
        DataplaneHello {
            version: crosspoint_contract::VERSION,
            generation: Generation(1),
            process_id: 1,
            workers: (0..workers).map(worker).collect(),
            fingerprint: Fingerprint { sha256: [0; 32] },
            certificate_der: Vec::new(),
            ports: crosspoint_contract::PortsHello::default(),
            line: None,
        }
    }

    #[test]
    fn dataplane_of_other_workers_or_of_another_backend_than_asked_for_differs() {
        let two = |backend| settings(&[("media-workers", "2"), ("media-backend", backend)]);
        assert_eq!(difference(&two("auto"), &hello(2, "mmsg")), None);
        assert_eq!(difference(&two("mmsg"), &hello(2, "mmsg")), None);
        assert!(difference(&two("uring"), &hello(2, "mmsg")).is_some_and(|why| why.contains("media.backend")));
        assert!(difference(&two("auto"), &hello(1, "mmsg")).is_some_and(|why| why.contains("media.workers")));
    }
}
