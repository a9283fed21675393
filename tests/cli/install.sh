# install.sh - what `meson install` puts where, and that a program finds it with pkg-config.
. "$(dirname "$0")/lib.sh"

DESTDIR=$work/stage meson install -C "$build" --no-rebuild > install.txt 2>&1 || { tail install.txt; exit 1; }
prefix=$(find stage -type d -name bin -prune | head -n 1)
prefix=$work/${prefix%/bin}
has() { [ -n "$(find "$prefix" -path "*/$1")" ]; }
for file in bin/latino include/latino.h liblatino.so liblatino.so.0 pkgconfig/latino.pc man/man1/latino.1 \
    share/latino/prior/model_index.json share/latino/prior/unet/diffusion_pytorch_model.safetensors \
    bash-completion/completions/latino.bash; do
    claim "installs $file" has "$file"
done
unset LATINO_MODEL
claim "the installed program runs" "$prefix/bin/latino" --version
claim "and finds the installed prior" "$prefix/bin/latino" restore "$data/upright.png" -o x.png --degradation identity --sigma 0.1 \
    --solver latino:steps=1

cat > user.c <<'END'
#include <latino.h>
#include <stdio.h>
int main(void)
{
    ltn_ctx *ctx;
    if (ltn_open(&ctx, NULL)) return 1;
    puts(ltn_version());
    ltn_close(&ctx);
    return ctx != NULL;
}
END
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name latino.pc)")
PKG_CONFIG_SYSROOT_DIR=$work/stage
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
claim "a program compiles with pkg-config" sh -c 'cc -std=c99 -Wall -Wextra -Werror -pedantic user.c $(pkg-config --cflags --libs latino) -o user'
LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name liblatino.so)")
export LD_LIBRARY_PATH
claim "and runs" ./user
