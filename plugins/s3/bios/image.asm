; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The finished video BIOS as data of the plugin: see bios.h.

section .rodata
        global  s3_bios:data hidden, s3_bios_size:data hidden
        align   16
s3_bios:
        incbin  "plugins/s3/bios/s3-bios.rom"
s3_bios_end:
        align   4
s3_bios_size:
        dd      s3_bios_end - s3_bios
section .note.GNU-stack noalloc noexec nowrite progbits
