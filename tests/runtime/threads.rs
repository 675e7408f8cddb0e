//! A shard's values can't be sent to another thread: this file fails to compile if one of their
//! types becomes `Send`.

use headwater::buffers::{OutputBuf, ReceiveBuf, ReceivePool};
use headwater::runtime::driver::{Handle, Op, Outcome};
use headwater::runtime::{
    Accepting, JoinHandle, Listener, PendingSend, Receiver, RingDriver, Running, Runtime, SendBuf,
    Shard, ShardHandle, Sleep, Stream, Timer,
};

/// Implemented twice for what is `Send` (or `Sync`), so that the call below is ambiguous then.
trait NotSend<Marker> {
    fn holds() {}
}
impl<T: ?Sized> NotSend<()> for T {}
impl<T: ?Sized + Send> NotSend<u8> for T {}

trait NotSync<Marker> {
    fn holds() {}
}
impl<T: ?Sized> NotSync<()> for T {}
impl<T: ?Sized + Sync> NotSync<u8> for T {}

macro_rules! stay_on_their_thread {
    ($($kind:ty),* $(,)?) => {$(
        <$kind as NotSend<_>>::holds();
        <$kind as NotSync<_>>::holds();
    )*};
}

#[test]
fn what_belongs_to_a_shard_stays_on_its_thread() {
    stay_on_their_thread!(
        Shard,
        Stream,
        Receiver,
        PendingSend,
        Listener,
        Accepting,
        Timer,
        Sleep,
        JoinHandle<()>,
        RingDriver,
        Op,
        Outcome,
        Handle,
        SendBuf,
        ReceiveBuf,
        ReceivePool,
        OutputBuf,
    );
}

#[test]
fn what_reaches_a_shard_goes_anywhere() {
    fn goes_anywhere<T: Send>() {}
    fn is_shared<T: Sync>() {}
    goes_anywhere::<ShardHandle>();
    is_shared::<ShardHandle>();
    goes_anywhere::<Runtime>();
    goes_anywhere::<Running>();
}
