#!/bin/bash
# Whether the model check finds what it is for: each fault of mutants.txt, put into a copy of what interlockd decides by,
# has to be found; by the model, or where the list says so by the unit tests. Says how many were, and fails unless all.
#
# tests/model/mutants.sh [NAME...]
set -u
cd "$(dirname "$0")/../.." || exit 1
cargo=${CARGO:-cargo}
list=tests/model/mutants.txt
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
# Named after the tree, so that the next call finds what doesn't change compiled.
copy=$target/model-mutants
mkdir -p "$copy"
caught=0 all=0 escaped=()

# Puts one fault in: the text after "- " is replaced by that after "+ ", in the file named, exactly once.
# shellcheck disable=SC2016
mutate='
    my ($list, $name, $tree) = @ARGV;
    my ($at, $file, @old, @new);
    open my $in, "<", $list or die "$list: $!\n";
    while (<$in>) {
        chomp;
        if (/^= (\S+) (\S+)/) { $at = $1 eq $name; $file = $2 if $at }
        elsif (/^#/) { next }
        elsif ($at && /^- ?(.*)/) { push @old, $1 }
        elsif ($at && /^\+ ?(.*)/) { push @new, $1 }
    }
    my $path = "$tree/$file";
    open my $code, "<", $path or die "$path: $!\n";
    local $/;
    my $text = <$code>;
    my ($old, $new) = (join("\n", @old) . "\n", join("", map { "$_\n" } @new));
    my $times = () = $text =~ /\Q$old\E/g;
    die "$name: $file has its text $times times\n" unless $times == 1;
    $text =~ s/\Q$old\E/$new/;
    open my $out, ">", $path or die "$path: $!\n";
    print $out $text;
'

rm -rf "${copy:?}/tree"
mkdir -p "$copy/tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --preserve=timestamps --parents -t "$copy/tree" || exit 1
names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(sed -nE 's/^= (\S+) .*/\1/p' "$list")
for name in "${names[@]}"; do
    all=$((all + 1))
    read -r file setups < <(sed -nE "s/^= $name (.*)/\\1/p" "$list")
    if ! perl -e "$mutate" "$list" "$name" "$copy/tree"; then
        escaped+=("$name (not applied)")
        continue
    fi
    if [ "$setups" = core-tests ]; then
        CARGO_TARGET_DIR=$copy/target $cargo test --quiet --locked --offline -p interlock-core --lib \
            --manifest-path "$copy/tree/Cargo.toml" >"$copy/log" 2>&1
        cp "$file" "$copy/tree/$file"
        fault=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p; s/^---- \(.*\) stdout ----$/\1/p' "$copy/log" | head -1)
        if [ -n "$fault" ]; then
            caught=$((caught + 1))
            echo "caught  $name (unit tests): $fault"
        else
            escaped+=("$name")
            echo "ESCAPED $name"
        fi
        continue
    fi
    if ! CARGO_TARGET_DIR=$copy/target $cargo build --quiet --locked --offline --profile model -p interlock-model \
        --manifest-path "$copy/tree/Cargo.toml" >"$copy/log" 2>&1; then
        tail -20 "$copy/log"
        cp "$file" "$copy/tree/$file"
        escaped+=("$name (not compiled)")
        continue
    fi
    # The setups that find it soonest; it is found by all of them together as well.
    read -ra setups <<<"$setups"
    "$copy/target/model/interlock-model" "${setups[@]}" >"$copy/log" 2>&1
    status=$?
    cp "$file" "$copy/tree/$file"
    fault=$(sed -n 's/^FAULT: //p' "$copy/log")
    setup=$(sed -nE 's/^([a-z]+): [0-9]+ states.*/\1/p' "$copy/log" | tail -1)
    if [ "$status" -eq 1 ] && [ -n "$fault" ]; then
        caught=$((caught + 1))
        echo "caught  $name ($setup): $fault"
    else
        escaped+=("$name")
        echo "ESCAPED $name"
    fi
done
rm -rf "${copy:?}/tree"
echo "$caught of $all mutations caught"
[ ${#escaped[@]} -eq 0 ] || { printf 'escaped: %s\n' "${escaped[@]}"; exit 1; }
