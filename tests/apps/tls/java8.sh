#!/bin/sh
# Puts Java 8 into the folder $1. Debian has it in its unstable distribution only, for a later C library than the stable one
# may have, so that it gets one of its own. Nothing of the host is changed.
set -eu
folder=$1
own() {
    apt-get -qq -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root "$@"
}
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/root"
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $archive unstable main" > "$folder/sources.list"
own -o Acquire::Languages=none update
(cd "$folder" && own download openjdk-8-jre-headless libc6)
for package in "$folder"/*.deb; do
    dpkg-deb -x "$package" "$folder/root"
done
find "$folder/root" -type l | while read -r link; do
    target=$(readlink "$link")
    case $target in /*) ln -sfn "$folder/root$target" "$link" ;; esac
done
libraries=$folder/root/usr/lib/x86_64-linux-gnu
java=$folder/root/usr/lib/jvm/java-8-openjdk-amd64/jre/bin/java
patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" "$java"
cat > "$folder/java" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries:/usr/lib/x86_64-linux-gnu exec $java "\$@"
END
chmod +x "$folder/java"
rm -r "$folder"/*.deb "$folder/lists" "$folder/cache"
"$folder/java" -version
