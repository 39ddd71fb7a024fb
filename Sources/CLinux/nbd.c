/* SPDX-License-Identifier: Apache-2.0 */
#include "CLinux.h"
#include <linux/fs.h>
#include <linux/nbd.h>

const unsigned long clinux_nbd_set_sock = NBD_SET_SOCK, clinux_nbd_set_blksize = NBD_SET_BLKSIZE,
                    clinux_nbd_do_it = NBD_DO_IT, clinux_nbd_clear_sock = NBD_CLEAR_SOCK,
                    clinux_nbd_clear_que = NBD_CLEAR_QUE,
                    clinux_nbd_set_size_blocks = NBD_SET_SIZE_BLOCKS,
                    clinux_nbd_disconnect = NBD_DISCONNECT,
                    clinux_nbd_set_timeout = NBD_SET_TIMEOUT, clinux_nbd_set_flags = NBD_SET_FLAGS,
                    clinux_blkroset = BLKROSET,
                    clinux_blkrrpart = BLKRRPART;
