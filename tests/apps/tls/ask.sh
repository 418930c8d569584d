# Asks COUNT users, from FIRST on, as many at once as IN_FLIGHT: ask.sh PROGRAM SERVER AUTHORITY FIRST COUNT IN_FLIGHT BEGIN
#
# Until the file BEGIN exists, user 0 is asked again and again. ASK is the program of http1 and http2, and the script of php.
set -eu
program=$1 server=$2 authority=$3 first=$4 count=$5 in_flight=$6 begin=$7
last=$((first + count - 1))

# Asks the users FIRST to LAST.
ask() {
    case $program in
    curl)
        curl --silent --show-error --fail --http1.1 --cacert "$authority" --parallel --parallel-max "$in_flight" \
            "$server/users/[$1-$2]" --output /dev/null ;;
    curl-http2)
        curl --silent --show-error --fail --http2 --cacert "$authority" --parallel --parallel-max "$in_flight" \
            "$server/users/[$1-$2]" --output /dev/null ;;
    wget)
        seq "$1" "$2" | sed "s|^|$server/users/|" |
            xargs -P "$in_flight" -n 32 wget --quiet --output-document=/dev/null --ca-certificate="$authority" ;;
    php)
        seq "$1" "$2" | xargs -P "$in_flight" -n 32 php "$ASK" "$server" "$authority" ;;
    http1 | http2)
        "$ASK" ask "$server" "$authority" "$1" $(($2 - $1 + 1)) "$in_flight" "$program" ;;
    esac
}

until [ -e "$begin" ]; do
    ask 0 0
    sleep 0.05
done
ask "$first" "$last"
