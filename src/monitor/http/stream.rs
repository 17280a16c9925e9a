//! A socket whose peer must take what it asked for in bounded time, which keeps
//! its place as long as it is not silent, and whose requests are read leniently
//! ([`super::lenient`]).

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::lenient::{RequestLines, with_words};
use crate::connection::admission::Place;

/// A stream that fails once the bytes of one answer have waited too long.
pub(super) struct BoundedStream<S> {
    stream: S,
    answer_timeout: Duration,
    place: Place,
    /// Runs while part of an answer is pending; it is not restarted before all is written,
    /// however little the peer reads at a time.
    deadline: Option<Pin<Box<Sleep>>>,
    lines: RequestLines,
    /// Bytes read that do not fit, as the replacement is longer than the received bytes.
    unread: Vec<u8>,
    /// Bytes to write in place of those that hyper has written.
    unwritten: Vec<u8>,
}

impl<S> BoundedStream<S> {
    /// A peer may take `answer_timeout` for each answer.
    pub(super) fn new(stream: S, answer_timeout: Duration, place: Place) -> Self {
        Self {
            stream,
            answer_timeout,
            place,
            deadline: None,
            lines: RequestLines::default(),
            unread: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    /// Passes on a result of writing, or fails when the time is over.
    fn bound<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.place.mark_active();
            return result;
        }
        let timeout = self.answer_timeout;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.unread.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let new = &buffer.filled()[before..];
            if !new.is_empty() {
                this.place.mark_active();
            }
            let Some(escaped) = this.lines.escape(new) else {
                return Poll::Ready(Ok(()));
            };
            this.unread = escaped;
            buffer.set_filled(before);
        }
        let fits = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread[..fits]);
        this.unread.drain(..fits);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> BoundedStream<S> {
    /// The replacement of a response that hyper makes by itself, unless it is one without a
    /// body.
    fn answer_in_words(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        (!self.lines.is_head()).then(|| with_words(bytes)).flatten()
    }

    /// Writes the replacement of what hyper has written.
    fn poll_unwritten(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let result = Pin::new(&mut self.stream).poll_write(context, &self.unwritten);
            let written = ready!(self.bound(result, context))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unwritten.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unwritten(context))?;
        if let Some(answer) = self.answer_in_words(bytes) {
            self.unwritten = answer;
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bound(result, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unwritten(context))?;
        if let [only] = slices
            && let Some(answer) = self.answer_in_words(only)
        {
            self.unwritten = answer;
            return Poll::Ready(Ok(only.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bound(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when all of an answer is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unwritten(context))?;
        self.deadline = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unwritten(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::admission::{Places, Source};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    fn place() -> Place {
        Places::new("test", 1, 0).take(Source::User(0), false, Duration::ZERO, |_| {})
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let _peer = peer.unwrap();
        let mut stream =
            BoundedStream::new(accepted.unwrap().0, Duration::from_millis(20), place());
        let piece = vec![0; 1 << 20];
        // The kernel buffers some megabytes for the peer, not a gigabyte.
        for _ in 0..1024 {
            if let Err(error) = stream.write_all(&piece).await {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return;
            }
        }
        panic!("a peer that reads nothing took a gigabyte");
    }

    #[tokio::test]
    async fn words_are_a_body_which_not_every_request_wants() {
        const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        for (method, is_bare) in [("HEAD", true), ("GET", false)] {
            let (mut peer, ours) = tokio::io::duplex(1024);
            let mut stream = BoundedStream::new(ours, Duration::from_secs(3600), place());
            let request = format!("{method} /a b c HTTP/1.1\r\n\r\n");
            peer.write_all(request.as_bytes()).await.unwrap();
            let mut read = vec![0; request.len()];
            stream.read_exact(&mut read).await.unwrap();
            stream.write_all(BARE).await.unwrap();
            stream.flush().await.unwrap();
            drop(stream);
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer == BARE, is_bare, "{method}");
        }
    }

    #[tokio::test]
    async fn each_answer_has_its_own_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let _peer = peer.unwrap();
        let mut stream =
            BoundedStream::new(accepted.unwrap().0, Duration::from_secs(3600), place());
        stream.deadline = Some(Box::pin(sleep(Duration::ZERO)));
        stream.write_all(b"the end of an answer").await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.deadline.is_none());
    }
}
