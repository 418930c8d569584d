# Asks COUNT users, from FIRST on, as many at once as IN_FLIGHT: ask.rb SERVER AUTHORITY FIRST COUNT IN_FLIGHT BEGIN
#
# Until the file BEGIN exists, user 0 is asked again and again, each time by a new connection.
require 'net/http'

server = URI(ARGV[0])
authority = ARGV[1]
first, count, in_flight = ARGV[2, 3].map(&:to_i)
start = ->(&block) { Net::HTTP.start(server.host, server.port, use_ssl: true, ca_file: authority, &block) }
ask = ->(http, number) { http.get("/users/#{number}").is_a?(Net::HTTPOK) || abort("no user #{number}") }

until File.exist?(ARGV[5])
  start.call { |http| ask.call(http, 0) }
  sleep 0.05
end
numbers = Queue.new
count.times { |number| numbers << first + number }
numbers.close
Array.new(in_flight) do
  Thread.new do
    start.call do |http|
      while (number = numbers.pop)
        ask.call(http, number)
      end
    end
  end
end.each(&:join)
