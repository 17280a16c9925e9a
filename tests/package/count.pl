# Publishes numbers to the broker of this host until the file STOP exists, and reads them again:
# each must come once and in order, and neither connection may be closed. Writes the file READY when
# it begins.
#
#   perl count.pl READY STOP
use strict;
use warnings;
use IO::Socket::INET;

my ($ready, $stop) = @ARGV;

sub client {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 4222)
        or die "cannot connect: $!\n";
    my $info = <$socket>;
    $info =~ /^INFO / or die "not an INFO: $info";
    print $socket qq(CONNECT {"verbose":false,"protocol":1}\r\n);
    return $socket;
}

# The broker has handled all that was sent.
sub sync {
    my ($socket) = @_;
    print $socket "PING\r\n";
    while (defined(my $line = <$socket>)) {
        return if $line eq "PONG\r\n";
        print $socket "PONG\r\n" if $line eq "PING\r\n";
        $line =~ /^(INFO|PING)/ or die "unexpected: $line";
    }
    die "the publisher's connection was closed\n";
}

sub receive {
    my ($socket) = @_;
    my $next = 0;
    while (defined(my $line = <$socket>)) {
        if ($line =~ /^MSG data 1 (\d+)\r\n$/) {
            read($socket, my $text, $1 + 2) == $1 + 2 or die "half a message\n";
            $text =~ s/\r\n$//;
            return $next if $text eq 'end';
            $text eq $next or die "$text came where $next was due\n";
            $next++;
        } elsif ($line eq "PING\r\n") {
            print $socket "PONG\r\n";
        } elsif ($line !~ /^INFO /) {
            die "unexpected: $line";
        }
    }
    die "the reader's connection was closed after $next messages\n";
}

my ($reader, $publisher) = (client(), client());
print $reader "SUB data 1\r\nPING\r\n";
1 until <$reader> eq "PONG\r\n";
my $child = fork;
defined $child or die "fork: $!\n";
if ($child == 0) {
    my $count = receive($reader);
    print "$count messages came, each once\n";
    exit 0;
}
open(my $file, '>', $ready) or die "$ready: $!\n";
close $file;
my $sent = 0;
until (-e $stop) {
    for (1 .. 20) {
        printf $publisher "PUB data %d\r\n%s\r\n", length $sent, $sent;
        $sent++;
    }
    sync($publisher);
    select undef, undef, undef, 0.005;
}
print $publisher "PUB data 3\r\nend\r\n";
sync($publisher);
waitpid $child, 0;
exit($? ? 1 : 0);
