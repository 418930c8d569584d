#!/bin/sh
# Compiles Ask.cs for the .NET in the Python environment $1, and makes `ask` there, which runs it with the OpenSSL in $2.
set -eu
folder=$1 openssl=$2 source=$(dirname "$0")/Ask.cs
bin=$(echo "$folder"/lib/python3*/site-packages/dotnetcore2/bin)
set --
for library in "$bin"/shared/Microsoft.NETCore.App/*/System.*.dll; do
    case $library in *.Native.* | *.WindowsRuntime*) ;; *) set -- "$@" "-r:$library" ;; esac
done
mcs -nostdlib -noconfig -langversion:latest "$@" "-out:$folder/ask.dll" "$source"
cat > "$folder/ask.runtimeconfig.json" <<END
{
  "runtimeOptions": {
    "framework": { "name": "Microsoft.NETCore.App", "version": "3.1.0" },
    "configProperties": { "System.Globalization.Invariant": true }
  }
}
END
cat > "$folder/ask" <<END
#!/bin/sh
DOTNET_CLI_TELEMETRY_OPTOUT=1 LD_LIBRARY_PATH=$openssl exec $bin/dotnet $folder/ask.dll "\$@"
END
chmod +x "$folder/ask" "$bin/dotnet"
