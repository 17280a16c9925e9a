require 'json'
require 'openssl'
require 'socket'

module MCollective
  module Connector
    # Connects mcollectived and mco to NATS brokers over mutual TLS, with nothing but Ruby's
    # standard library. Subjects and the JSON around each message are Choria's.
    #
    # It is as demanding as the client library of that time: it takes the second word of the
    # INFO line for all of its JSON, and it connects again after every -ERR.
    #
    # Settings: plugin.nats.servers (HOST:PORT, separated by commas), .cert, .key, .ca, and
    # .user and .pass for a login.
    class Nats < Base
      # What a member that is stopping, or a machine that is busy, may take.
      HANDSHAKE_SECONDS = 10
      PAUSE_SECONDS = 0.1

      def initialize
        @config = Config.instance
        @settings = lambda { |name| @config.pluginconf["nats.#{name}"] }
        @servers = @settings['servers'].split(',')
        @subjects = {}
        @received = Queue.new
        @lock = Monitor.new
      end

      def connect
        return if @reader

        open_socket
        @reader = Thread.new { read_for_ever }
      end

      def disconnect
        @reader.kill if @reader
        @reader = nil
        @socket.close
      end

      def subscribe(agent, type, collective)
        @lock.synchronize do
          subject = source(agent, type, collective)
          next if @subjects.include?(subject)

          @subjects[subject] = @subjects.size + 1
          write("SUB #{subject} #{@subjects[subject]}\r\n")
        end
      end

      def unsubscribe(agent, type, collective)
        @lock.synchronize do
          number = @subjects.delete(source(agent, type, collective))
          write("UNSUB #{number}\r\n") if number
        end
      end

      def publish(msg)
        msg.base64_encode!
        headers = { 'mc_sender' => @config.identity }
        if msg.type == :reply
          headers['federation'] = msg.request.headers['federation'] if msg.request.headers['federation']
        else
          headers['reply-to'] = msg.reply_to || reply_subject(msg.collective)
        end
        json = { 'protocol' => 'choria:transport:1', 'data' => msg.payload, 'headers' => headers }.to_json
        lines = targets(msg).map { |target| "PUB #{target} #{json.bytesize}\r\n#{json}\r\n" }
        @lock.synchronize { write(lines.join) }
      end

      def receive
        message = JSON.parse(@received.pop)
        Message.new(message['data'], message, :base64 => true, :headers => message['headers'])
      end

      private

      def targets(msg)
        case msg.type
        when :reply
          [msg.request.headers['reply-to']]
        when :direct_request
          msg.discovered_hosts.map { |host| "#{msg.collective}.node.#{host}" }
        else
          [source(msg.agent, :broadcast, msg.collective)]
        end
      end

      def source(agent, type, collective)
        case type
        when :reply then reply_subject(collective)
        when :directed then "#{collective}.node.#{@config.identity}"
        else "#{collective}.broadcast.agent.#{agent}"
        end
      end

      def reply_subject(collective)
        "#{collective}.reply.#{@config.identity}.#{Process.pid}.#{Client.request_sequence}"
      end

      # Tries one server after the other, beginning with the first, for ever.
      def open_socket
        loop do
          begin
            return try(@servers.first)
          rescue StandardError => e
            Log.warn("Cannot connect to #{@servers.first}: #{e.class}: #{e}")
            @servers.rotate!
            sleep(PAUSE_SECONDS)
          end
        end
      end

      def try(server)
        host, port = server.split(':')
        plain = Socket.tcp(host, port.to_i, :connect_timeout => HANDSHAKE_SECONDS)
        socket = Timeout.timeout(HANDSHAKE_SECONDS) { greet(plain, host) }
        @lock.synchronize do
          @socket = socket
          write(@subjects.map { |subject, number| "SUB #{subject} #{number}\r\n" }.join)
        end
        Log.info("Connected to #{server}")
      rescue StandardError
        plain.close if plain
        raise
      end

      def greet(plain, host)
        plain.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
        info = JSON.parse(plain.gets.to_s.split[1].to_s)
        raise "#{host} does not require TLS" unless info['tls_required']

        socket = OpenSSL::SSL::SSLSocket.new(plain, tls)
        socket.sync_close = true
        socket.connect
        socket.post_connection_check(host)
        connect = { 'verbose' => false, 'pedantic' => false, 'lang' => 'ruby', 'version' => '1',
                    'protocol' => 1, 'name' => @config.identity }
        connect.update('user' => @settings['user'], 'pass' => @settings['pass']) if @settings['user']
        socket.write("CONNECT #{connect.to_json}\r\nPING\r\n")
        loop do
          line = socket.gets.to_s
          return socket if line.start_with?('PONG')
          raise "the broker said #{line.inspect}" unless line.start_with?('INFO')
        end
      end

      def tls
        context = OpenSSL::SSL::SSLContext.new
        context.cert = OpenSSL::X509::Certificate.new(File.read(@settings['cert']))
        context.key = OpenSSL::PKey.read(File.read(@settings['key']))
        context.ca_file = @settings['ca']
        context.verify_mode = OpenSSL::SSL::VERIFY_PEER
        context
      end

      def read_for_ever
        loop do
          begin
            read_line
          rescue StandardError => e
            Log.warn("Lost #{@servers.first}: #{e.class}: #{e}")
            @socket.close
            @servers.rotate!
            open_socket
          end
        end
      end

      def read_line
        line = @socket.readline
        case line
        when /\AMSG /
          size = line.split.last.to_i
          body = @socket.read(size + 2).to_s
          raise EOFError unless body.bytesize == size + 2

          @received << body[0, size]
        when /\APING/
          @lock.synchronize { write("PONG\r\n") }
        when /\A-ERR/
          raise line.chomp
        end
      end

      # What cannot be written is lost. The reader notices that the broker is gone.
      def write(text)
        @socket.write(text)
      rescue SystemCallError, IOError, OpenSSL::SSL::SSLError => e
        Log.warn("Cannot write to #{@servers.first}: #{e.class}: #{e}")
      end
    end
  end
end
