# @summary The federation of a site: its name and its upstream brokers.
type Nats::Federation = Struct[{
  name                  => Pattern[/\A[A-Za-z0-9_-]{1,128}\z/],
  upstream              => Array[Pattern[/\A(nats|tls|srv):\/\/\S+\z/], 1, 64],
  Optional[collectives] => Array[Pattern[/\A[A-Za-z0-9_-]{1,128}\z/], 1, 64],
  Optional[account]     => String[1],
  Optional[nameserver]  => String[1],
}]
