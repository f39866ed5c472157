; SPDX-License-Identifier: LGPL-2.1-or-later
;
; Video BIOS of the S3 Trio64V+ (86C765): INT 10h of the IBM VGA and VBE 2.0.
;
; Documents: IBM PS/2 and PC BIOS Interface Technical Reference; VESA BIOS Extension 2.0; VESA DMT
; for timings; PCI Local Bus Specification 2.1, chapter 6.3, for the image.
;
; Life cycle: the system BIOS copies the image to shadow RAM and calls offset 3 once (post).  From
; then on everything happens in int10.  The image is never written to, and runs wherever it lies;
; all that changes is kept in the BIOS data area and in the chip.  On a plain VGA everything but
; VBE works.  Only instructions of the 386, in real or virtual 8086 mode; the functions of VBE
; 4F0Ah are for protected mode.
;
; Departures from IBM: no cassette BASIC, no light pen; alternate characters for cells nine dots
; wide are the ordinary ones.

        cpu     386
        bits    16
        org     0
%include "common.inc"

rom:
        db      0x55, 0xaa, ROM_SIZE / 512
        jmp     near post
        times   0x18 - ($ - rom) db 0
        dw      pci_data, 0
        times   0x1e - ($ - rom) db 0
        db      "IBM VGA compatible", 0

        align   4, db 0
pci_data:
        db      "PCIR"
        dw      0x5333, 0x8811
        dw      0               ; no vital product data
        dw      0x18            ; length of this structure
        db      0               ; its revision
        db      0x00, 0x00, 0x03 ; VGA
        dw      ROM_SIZE / 512
        dw      0x0100
        db      0               ; PC-AT code
        db      0x80            ; the last image
        dw      0

sign_on:
        db      "Tenon S3 Trio64V+ video BIOS", 0

; ---- Entry of INT 10h ----

int10:
        sti
        cld
        pushad
        push    ds
        push    es
        push    fs
        mov     bp, sp
        push    word 0
        pop     ds
        cmp     ah, 0x1c
        ja      .beyond
        movzx   si, ah
        shl     si, 1
        cmp     byte [BDA_MODE], FIRST_VBE
        jae     .banked
.call:
        call    [cs:int10_functions + si]
.done:
        pop     fs
        pop     es
        pop     ds
        popad
        iret
.beyond:
        cmp     ah, 0x4f
        jne     .done
        call    vbe
        jmp     .done
; What writes to the screen of such a mode leaves the window where it was.
.banked:
        cmp     ah, 0x06
        jb      .call
        cmp     ah, 0x13
        ja      .call
        call    get_bank                ; all other registers are kept
        push    di
        call    [cs:int10_functions + si]
        pop     di
        call    set_bank
        jmp     .done

int10_functions:
        dw      set_mode, set_cursor_shape, set_cursor, get_cursor, light_pen, set_page
        dw      scroll_up, scroll_down, read_character, write_character_attribute
        dw      write_character, set_cga_palette, write_pixel, read_pixel, teletype, get_mode
        dw      palette, font, alternate_select, write_string, nothing, nothing, nothing
        dw      nothing, nothing, nothing, display_code, state_information, save_restore

nothing:
        ret

; AH = 04h: there is no light pen
light_pen:
        mov     byte [bp + FRAME_AH], 0
        ret

; AH = 0Fh
get_mode:
        mov     al, [BDA_CONTROL]
        and     al, CONTROL_NO_CLEAR
        or      al, [BDA_MODE]
        mov     ah, [BDA_COLUMNS]
        mov     [bp + FRAME_AX], ax
        mov     al, [BDA_PAGE]
        mov     [bp + FRAME_BH], al
        ret

; ---- Power-on ----

post:
        pushf
        pushad
        push    ds
        push    es
        push    fs
        mov     bp, sp
        cld
        push    word 0
        pop     ds
        call    wake
        call    set_vectors
        call    set_data_area
        call    s3_post
        mov     ax, 0x0003
        int     0x10
        call    greet
        pop     fs
        pop     es
        pop     ds
        popad
        popf
        retf

; The card answers at all, and at the addresses of a colour display.
wake:
        mov     dx, ENABLE
        mov     al, 1
        out     dx, al
        mov     dx, MISC
        mov     al, 0x67
        out     dx, al
        mov     word [BDA_CRTC], CRTC_COLOR
        ret

; The handler that the system BIOS had for simple adapters moves to INT 42h.
set_vectors:
        mov     eax, [VECTOR (0x10)]
        mov     [VECTOR (0x42)], eax
        mov     ax, cs
        shl     eax, 16
        mov     ax, int10
        mov     [VECTOR (0x10)], eax
        mov     [VECTOR (0x6d)], eax
        mov     ax, font_8x8 + 128 * 8
        mov     [VECTOR (0x1f)], eax
        mov     ax, font_8x16
        mov     [VECTOR (0x43)], eax
        mov     ax, save_pointers
        mov     [BDA_SAVE], eax
        ret

set_data_area:
        and     word [BDA_EQUIPMENT], ~0x30
        or      word [BDA_EQUIPMENT], 0x20      ; 80 columns in colour
        mov     byte [BDA_CONTROL], CONTROL_256K
        mov     byte [BDA_SWITCHES], 0xf9       ; colour, 80 columns
        mov     byte [BDA_FLAGS], FLAGS_VGA | FLAGS_400
        mov     byte [BDA_DCC], 0x0b            ; VGA with colour display, nothing else
        ret

; Who we are, on the first line, until the system BIOS goes on.
greet:
        mov     si, sign_on
.next:
        cs lodsb
        test    al, al
        jz      .memory
        call    say
        jmp     .next
.memory:
        call    s3_memory               ; in units of 64 KiB
        jnc     .size
        jmp     .end
.size:
        shr     ax, 4
        add     al, '0'
        push    ax
        mov     al, ','
        call    say
        mov     al, ' '
        call    say
        pop     ax
        call    say
        mov     al, ' '
        call    say
        mov     al, 'M'
        call    say
        mov     al, 'B'
        call    say
.end:
        mov     al, 13
        call    say
        mov     al, 10
        call    say
        mov     al, 10
        ; goes on into say
say:
        push    si
        mov     ah, 0x0e
        mov     bx, 7
        int     0x10
        pop     si
        ret

%include "tables.inc"

%include "s3.inc"
%include "vbe-modes.inc"
%include "mode.inc"
%include "text.inc"
%include "graphics.inc"
%include "banked.inc"
%include "palette.inc"
%include "font.inc"
%include "misc.inc"
%include "state.inc"
%include "vbe.inc"
%include "vbe-window.inc"
%include "ddc.inc"
%include "vbe-protected.inc"
%include "glyphs.inc"

; The last byte makes the sum of all bytes 0; the build puts it there.
        times   ROM_SIZE - 1 - ($ - rom) db 0
        db      0
