complete -c midge-top -s s -l server -d 'Host of the broker' -r
complete -c midge-top -s m -l port -d 'Its monitoring port' -r
complete -c midge-top -l ms -d 'Its https monitoring port' -r
complete -c midge-top -l socket -d 'Its Unix socket; a URL given as well adds the base path' -r -F
complete -c midge-top -l token-file -d 'File that holds the token of the port; else $MONITOR_TOKEN' -r -F
complete -c midge-top -l user -d 'User of the port; else $MONITOR_USER' -r
complete -c midge-top -l password-file -d 'File that holds the password; else $MONITOR_PASSWORD' -r -F
complete -c midge-top -l cacert -d 'CA of the https port, in place of the system\'s' -r -F
complete -c midge-top -l cert -d 'This client\'s certificate for the https port' -r -F
complete -c midge-top -l key -d 'Its key' -r -F
complete -c midge-top -s d -l delay -d 'Time between two requests, 0.2 to 3600' -r
complete -c midge-top -s n -l connections -d 'Most connections of one request; a filter searches all' -r
complete -c midge-top -l sort -d 'Order of the connections, see below' -r -f -a "pending\t''
msgs_to\t''
msgs_from\t''
bytes_to\t''
bytes_from\t''
subs\t''
rtt\t''
idle\t''
last\t''
uptime\t''
cid\t''
name\t''
user\t''
address\t''
library\t''
dropped\t''
stop\t''
reason\t''"
complete -c midge-top -l filter -d 'Only connections whose name, user, account, address, certificate, library or reason has TEXT in it, or whose id is TEXT' -r
complete -c midge-top -l state -d 'Which connections' -r -f -a "open\t''
closed\t''
any\t''"
complete -c midge-top -l view -d 'The first view' -r -f -a "overview\t''
connections\t''
incidents\t''
load\t''
routes\t''
events\t''
ceilings\t''"
complete -c midge-top -l path -d 'Write who would get a message on SUBJECT and who would not, and why, and exit; nothing is sent. Permissions are looked at with --as-user' -r
complete -c midge-top -l as-user -d 'The user who would publish it' -r
complete -c midge-top -l as-account -d 'The account it would be published in' -r
complete -c midge-top -s r -l rounds -d 'Exit after N requests' -r
complete -c midge-top -s o -l output -d 'Write one report to FILE and exit; - is standard output' -r -F
complete -c midge-top -s l -l delimiter -d 'Report the connections alone, TEXT between the columns' -r
complete -c midge-top -s k -l insecure -d 'Accept any certificate of the https port'
complete -c midge-top -s b -l raw -d 'Numbers with all their digits'
complete -c midge-top -s u -l display-subscriptions-column -l subs -d 'Show the subjects of connections'
complete -c midge-top -l lookup -d 'Show the names of addresses (DNS)'
complete -c midge-top -l once -d 'Write one report as text and exit; also when the output is no terminal'
complete -c midge-top -l batch -d 'Write reports as text until stopped, or -r'
complete -c midge-top -s h -l help -d 'Print this help'
complete -c midge-top -s v -l version -d 'Print the version'
complete -c midge-top -l man -d 'Print the manual page as roff'
